package eventtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
)

func durableResumes(t *testing.T, open opener) {
	e := start(t, open)
	d := event.Durable("resumes")
	in := consume(t, e, nil, d, event.Types("x", "probe"), event.FromBeginning())
	publish(t, e, "x", numbers(0, 100)...)
	in.want(numbers(0, 100)...)
	if err := in.stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	publish(t, e, "x", numbers(100, 200)...)
	// Another process, say; where the subscription begins counts no more.
	other := start(t, open)
	in = consume(t, other, nil, d, event.Types("x"))
	in.want(numbers(100, 200)...)
	for _, got := range in.deliveries() {
		if got.Try != 1 {
			t.Errorf("record %s: try %d", got.Data, got.Try)
		}
	}
	// A subscription from now on remembers that, too, before it got anything.
	now := consume(t, e, nil, event.Durable("now"), event.Types("probe"))
	live(t, e, now, "probe")
	_ = now.stop() // the context's error
	publish(t, e, "probe", "while away")
	consume(t, other, nil, event.Durable("now"), event.Types("probe")).want("while away")
}

func durableRetries(t *testing.T, open opener) {
	e := start(t, open)
	var mu sync.Mutex
	tries := make(map[string][]int)
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		tries[d.Data] = append(tries[d.Data], d.Try)
		if d.Data == "bad" && d.Try < 4 {
			return event.Retry(time.Millisecond, errTold)
		}
		return nil
	}, event.Durable("retries"), event.FromBeginning())
	publish(t, e, "x", "1", "bad", "2", "3")
	in.wantAny("1", "bad", "2", "3")
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(tries["bad"]); got != "[1 2 3 4]" {
		t.Errorf("tries of the bad one: %s", got)
	}
	if got := fmt.Sprint(tries["1"], tries["2"], tries["3"]); got != "[1] [1] [1]" {
		t.Errorf("tries of the others: %s", got)
	}
}

func durableDelay(t *testing.T, open opener) {
	e := start(t, open)
	const delay = 400 * time.Millisecond
	var failed time.Time
	took := make(chan time.Duration, 1)
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		switch {
		case d.Data == "late" && d.Try == 1:
			failed = time.Now()
			return event.Retry(delay, errTold)
		case d.Data == "late":
			took <- time.Since(failed)
		}
		return nil
	}, event.Durable("delay"), event.FromBeginning())
	publish(t, e, "x", "late", "1", "2")
	in.want("1", "2", "late") // it holds up nobody
	if d := <-took; d < delay*9/10 {
		t.Errorf("came again after %v, want %v", d, delay)
	}
}

func deadLetters(t *testing.T, open opener) {
	e := start(t, open)
	all := consume(t, e, nil, event.FromBeginning(), event.Types("*"))
	dead := consume(t, e, nil, event.FromBeginning(), event.Types(event.DeadLetterType("dying")))
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		switch d.Data {
		case "poison":
			return event.Retry(0, errTold)
		case "rejected":
			return event.Reject(errTold)
		}
		return nil
	}, event.Durable("dying"), event.FromBeginning(), event.MaxTries(3))
	sent := publish(t, e, "order.x", "poison", "rejected", "good")
	in.want("good")
	dead.wantAny("poison", "rejected")
	for _, d := range dead.deliveries() {
		source, tries := sent[0], "3"
		if d.Data == "rejected" {
			source, tries = sent[1], "1"
		}
		md := d.Metadata
		if d.RootId != source.Id || md[event.DeadType] != "order.x" || md[event.DeadTries] != tries ||
			md[event.DeadSequence] != strconv.FormatUint(source.Sequence, 10) || md[event.DeadReason] != errTold.Error() {
			t.Errorf("dead letter of %s: %+v", d.Data, d.Record)
		}
	}
	publish(t, e, "order.x", "after")
	in.want("good", "after")
	all.want("poison", "rejected", "good", "after") // a subscription to all types gets no dead letters
}

func group(t *testing.T, open opener) {
	const members, count = 3, 600
	publisher := start(t, open)
	var arrived sync.WaitGroup // members that got their first record
	arrived.Add(members)
	everybody := make(chan struct{})
	go func() { arrived.Wait(); close(everybody) }()
	var all []*inbox
	for range members {
		e := start(t, open)
		first := sync.OnceFunc(arrived.Done)
		all = append(all, consume(t, e, func(ctx context.Context, _ *event.Delivery) error {
			first()
			select { // members that join late find work left
			case <-everybody:
			case <-ctx.Done():
				return ctx.Err()
			}
			time.Sleep(time.Millisecond) // the work that is shared
			return nil
		}, event.Durable("group"), event.FromBeginning(), event.Prefetch(8)))
	}
	publish(t, publisher, "x", numbers(0, count)...)
	total := func() (n int) {
		for _, in := range all {
			n += len(in.data())
		}
		return n
	}
	eventually(t, func() bool { return total() >= count }, func() string { return fmt.Sprintf("%d of %d handled", total(), count) })
	seen := make(map[string]int)
	for i, in := range all {
		if len(in.data()) < count/members/5 {
			t.Errorf("member %d got %d of %d", i, len(in.data()), count)
		}
		for _, d := range in.data() {
			seen[d]++
		}
	}
	if len(seen) != count || total() != count {
		t.Errorf("%d records handled %d times, want %d once", len(seen), total(), count)
	}
	// One leaves with work in its hands: the others do it, at once.
	_ = all[0].stop() // the context's error
	publish(t, publisher, "x", numbers(count, count+100)...)
	eventually(t, func() bool { return total() >= count+100 }, func() string { return fmt.Sprintf("%d of %d handled", total(), count+100) })
}

func ordered(t *testing.T, open opener) {
	const keys, each = 8, 25
	publisher := start(t, open)
	var mu sync.Mutex
	last := make(map[string]int)
	busy := make(map[string]bool)
	done := 0
	handle := func(_ context.Context, d *event.Delivery) error {
		n, err := strconv.Atoi(d.Data)
		if err != nil {
			return event.Reject(err)
		}
		mu.Lock()
		if busy[d.Key] {
			t.Errorf("two records of key %s at once", d.Key)
		}
		busy[d.Key] = true
		mu.Unlock()
		time.Sleep(time.Duration(n%3) * time.Millisecond) // others could overtake meanwhile
		mu.Lock()
		defer mu.Unlock()
		busy[d.Key] = false
		if n%7 == 3 && d.Try == 1 {
			return event.Retry(5*time.Millisecond, errTold)
		}
		if n != last[d.Key]+1 {
			t.Errorf("key %s: %d after %d", d.Key, n, last[d.Key])
		}
		last[d.Key] = n
		done++
		return nil
	}
	for range 2 {
		consume(t, start(t, open), handle, event.Durable("ordered"), event.FromBeginning(), event.Ordered(), event.Concurrency(4))
	}
	for n := 1; n <= each; n++ {
		var all []*event.Record
		for k := range keys {
			all = append(all, &event.Record{Key: fmt.Sprint("key ", k), Data: fmt.Sprint(n)})
		}
		if err := publisher.PublishAll(context.Background(), all); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return done }
	eventually(t, func() bool { return count() >= keys*each }, func() string { return fmt.Sprintf("%d of %d handled", count(), keys*each) })
}

func hungHandler(t *testing.T, open opener) {
	e := start(t, open)
	hung := make(chan struct{})
	entered := make(chan struct{})
	// It heeds no context, as handlers will.
	first := consume(t, e, func(context.Context, *event.Delivery) error {
		close(entered)
		<-hung
		return nil
	}, event.Durable("hung"), event.FromBeginning(), event.AckWait(300*time.Millisecond), event.Prefetch(1))
	publish(t, e, "x", "1")
	select {
	case <-entered:
	case <-time.After(patience):
		t.Fatal("no delivery")
	}
	second := consume(t, start(t, open), nil, event.Durable("hung"), event.AckWait(300*time.Millisecond))
	second.want("1")
	if d := second.deliveries()[0]; d.Try < 2 {
		t.Errorf("the second delivery is try %d", d.Try)
	}
	close(hung)
	first.want("1")
}

// slowDurable has a member whose queue takes longer than AckWait, though no
// record does, beside one that would get what the log took from it.
func slowDurable(t *testing.T, open opener) {
	const count, work, ackWait = 150, 20 * time.Millisecond, 2 * time.Second
	publish(t, start(t, open), "x", numbers(0, count)...)
	begun := make(chan struct{}, 2*count)
	slow := consume(t, start(t, open), func(context.Context, *event.Delivery) error {
		begun <- struct{}{}
		time.Sleep(work)
		return nil
	}, event.Durable("slow"), event.FromBeginning(), event.AckWait(ackWait), event.Prefetch(count))
	select {
	case <-begun: // its queue fills
	case <-time.After(patience):
		t.Fatal("no delivery")
	}
	idle := consume(t, start(t, open), nil, event.Durable("slow"), event.AckWait(ackWait), event.Prefetch(1))
	both := func() []*event.Delivery { return append(slow.deliveries(), idle.deliveries()...) }
	eventually(t, func() bool { return len(both()) >= count }, func() string { return fmt.Sprintf("%d of %d handled", len(both()), count) })
	if slow.deliveries()[0].Lag == 0 {
		t.Error("no lag was visible")
	}
	times := make(map[string]int)
	for _, d := range both() {
		if times[d.Data]++; times[d.Data] > 1 || d.Try != 1 {
			t.Errorf("record %s: try %d, handled %d times", d.Data, d.Try, times[d.Data])
		}
	}
}
