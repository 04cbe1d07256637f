package eventtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/recorder"
)

func types(t *testing.T, open opener) {
	e := start(t, open)
	for _, typ := range []string{"a", "a.b", "a.b.c", "ab.c", "b", "a/b", "A.b", "a.", "c d.e"} {
		publish(t, e, typ, typ)
	}
	for _, c := range []struct{ types, want []string }{
		{nil, []string{"a", "a.b", "a.b.c", "ab.c", "b", "a/b", "A.b", "a.", "c d.e"}},
		{[]string{"*"}, []string{"a", "a.b", "a.b.c", "ab.c", "b", "a/b", "A.b", "a.", "c d.e"}},
		{[]string{"*", "a.*"}, []string{"a", "a.b", "a.b.c", "ab.c", "b", "a/b", "A.b", "a.", "c d.e"}},
		{[]string{"*", event.ReservedPrefix + "dead.*"}, []string{"a", "a.b", "a.b.c", "ab.c", "b", "a/b", "A.b", "a.", "c d.e"}},
		{[]string{"a"}, []string{"a"}},
		{[]string{"a.*"}, []string{"a.b", "a.b.c", "a."}},
		{[]string{"a.b.*"}, []string{"a.b.c"}},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"b", "a.*", "a.b"}, []string{"a.b", "a.b.c", "b", "a."}},
		{[]string{"c d.*"}, []string{"c d.e"}},
	} {
		t.Run(fmt.Sprint(c.types), func(t *testing.T) {
			end := fmt.Sprint("end of ", c.types)
			opts := []event.ConsumeOption{event.FromBeginning(), event.Types(c.types...)}
			all := len(c.types) == 0 || c.types[0] == "*"
			if !all {
				opts = append(opts, event.Types(end))
				publish(t, e, end, "end")
				c.want = append(c.want, "end")
			}
			in := consume(t, e, nil, opts...)
			if all { // the ends of others are among them
				eventually(t, func() bool { return len(in.data()) >= len(c.want) }, func() string { return fmt.Sprint(in.data()) })
				in.mu.Lock()
				in.got = in.got[:min(len(in.got), 9)]
				in.mu.Unlock()
				c.want = c.want[:9]
			}
			in.want(c.want...)
		})
	}
}

func starts(t *testing.T, open opener) {
	e := start(t, open)
	old := publish(t, e, "x", "1", "2", "3")
	middle := between()
	now := consume(t, e, nil, event.Types("probe", "x"))
	live(t, e, now, "probe")
	publish(t, e, "x", "4", "5")
	now.want("4", "5")
	x := event.Types("x")
	consume(t, e, nil, x, event.FromBeginning()).want("1", "2", "3", "4", "5")
	consume(t, e, nil, x, event.FromSequence(old[1].Sequence)).want("2", "3", "4", "5")
	consume(t, e, nil, x, event.FromSequence(1)).want("1", "2", "3", "4", "5")
	consume(t, e, nil, x, event.FromTime(middle)).want("4", "5")
	consume(t, e, nil, x, event.FromTime(time.Unix(1, 0))).want("1", "2", "3", "4", "5")
	for i, o := range []event.ConsumeOption{event.FromBeginning(), event.FromSequence(old[2].Sequence), event.FromTime(middle)} {
		want := [][]string{{"1", "2", "3", "4", "5"}, {"3", "4", "5"}, {"4", "5"}}[i]
		consume(t, e, nil, x, o, event.Durable(fmt.Sprint("start ", i))).want(want...)
	}
}

// between returns a time after all that was done and before all that will be,
// however coarse the clock.
func between() time.Time {
	before, now := time.Now(), time.Now()
	for !now.After(before) {
		now = time.Now()
	}
	for !time.Now().After(now) {
		runtime.Gosched()
	}
	return now
}

func historyThenLive(t *testing.T, open opener) {
	e := start(t, open)
	publish(t, e, "x", numbers(0, 500)...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 500; i < 1000; i += 10 {
			publish(t, e, "x", numbers(i, i+10)...)
		}
	})
	var all []*inbox
	for range 4 {
		all = append(all, consume(t, e, nil, event.FromBeginning()))
	}
	durable := consume(t, e, nil, event.FromBeginning(), event.Durable("all"))
	wg.Wait()
	for _, in := range append(all, durable) {
		in.want(numbers(0, 1000)...)
	}
}

func endOfConsume(t *testing.T, open opener) {
	e := start(t, open)
	publish(t, e, "x", "1", "2", "3")
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		if d.Data == "2" {
			return errTold
		}
		return nil
	}, event.FromBeginning())
	select {
	case err := <-in.over:
		in.over <- err
		if !errors.Is(err, errTold) {
			t.Errorf("Consume returned %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the handler's error did not end Consume")
	}
	in.want("1")
	for _, opts := range [][]event.ConsumeOption{nil, {event.Durable("d")}} {
		in = consume(t, e, nil, append(opts, event.FromBeginning())...)
		in.want("1", "2", "3")
		if err := in.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Consume returned %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := e.Subscribe(ctx, func(*event.Record) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Subscribe returned %v", err)
	}
}

func slowSubscriber(t *testing.T, open opener) {
	e := start(t, open)
	gate := make(chan struct{})
	var once sync.Once
	var lag uint64
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		once.Do(func() { <-gate })
		lag = max(lag, d.Lag)
		return nil
	}, event.FromBeginning())
	fast := consume(t, e, nil, event.FromBeginning())
	publish(t, e, "x", numbers(0, 3000)...)
	fast.want(numbers(0, 3000)...) // nobody waits for the slow one
	close(gate)
	in.want(numbers(0, 3000)...)
	if lag == 0 {
		t.Error("the lag of a slow subscriber was never visible")
	}
	if n := e.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func traced(t *testing.T, open opener) {
	tr := recorder.NewTrace()
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	e := start(t, open, event.Trace(tr))
	ctx, root := trace.Begin(context.Background(), tr, "root")
	r := &event.Record{Type: "x", Metadata: map[string]string{"own": "kept"}}
	if err := e.Publish(ctx, r); err != nil {
		t.Fatal(err)
	}
	if len(r.Metadata) != 1 {
		t.Errorf("Publish changed the caller's metadata to %v", r.Metadata)
	}
	ids := make(chan [2]string, 1)
	consume(t, e, func(ctx context.Context, d *event.Delivery) error {
		s, ok := tr.FromContext(ctx)
		if !ok || d.Metadata["own"] != "kept" {
			t.Errorf("span %v in the handler's context, metadata %v", ok, d.Metadata)
			return nil
		}
		ids <- [2]string{s.TraceId, s.Id}
		return nil
	}, event.FromBeginning())
	select {
	case got := <-ids:
		if got[0] != root.TraceId || got[1] == root.Id {
			t.Errorf("the handler's span is %v, want another one of trace %s", got, root.TraceId)
		}
	case <-time.After(patience):
		t.Fatal("no delivery")
	}
}
