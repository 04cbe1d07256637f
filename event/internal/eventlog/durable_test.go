package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

const ackWait = 30 * time.Second

// membership is that of a subscription which begins at the beginning.
func membership(name, member string, change ...func(*plugin.Membership)) plugin.Membership {
	m := plugin.Membership{
		Conf:   &pb.Subscription{Name: name, Start: pb.Start_BEGINNING, AckWait: int64(ackWait)},
		Member: member, Credit: 10,
	}
	for _, f := range change {
		f(&m)
	}
	return m
}

func join(t *testing.T, l *eventlog.Log, name, member string, change ...func(*plugin.Membership)) *eventlog.Member {
	t.Helper()
	m, err := l.Join(t.Context(), membership(name, member, change...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Detach)
	return m
}

func credit(n int) func(*plugin.Membership) { return func(m *plugin.Membership) { m.Credit = n } }
func ordered(m *plugin.Membership)          { m.Conf.Ordered = true }
func maxTries(n int32) func(*plugin.Membership) {
	return func(m *plugin.Membership) { m.Conf.MaxTries = n }
}

func receive(t *testing.T, m *eventlog.Member) ([]*pb.Delivery, error) {
	t.Helper()
	all, _, err := m.Next(t.Context())
	return all, err
}

// now returns what the member has at this moment, as sequence or sequence/try.
func now(t *testing.T, m *eventlog.Member) string {
	t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	all, _, err := m.Next(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	var text []string
	for _, d := range all {
		s := fmt.Sprint(d.Record.Sequence)
		if d.Try != 1 {
			s += fmt.Sprint("/", d.Try)
		}
		text = append(text, s)
	}
	return strings.Join(text, " ")
}

func want(t *testing.T, m *eventlog.Member, what, deliveries string) {
	t.Helper()
	if got := now(t, m); got != deliveries {
		t.Fatalf("%s: got %q, want %q", what, got, deliveries)
	}
}

func ack(m *eventlog.Member, sequences ...uint64) { settle(m, pb.Outcome_ACK, 1, 0, sequences...) }

func settle(m *eventlog.Member, o pb.Outcome, try int32, delay time.Duration, sequences ...uint64) {
	var all []*pb.Settlement
	for _, seq := range sequences {
		all = append(all, &pb.Settlement{Sequence: seq, Try: try, Outcome: o, Delay: int64(delay), Reason: "told to"})
	}
	m.Settle(all, nil)
}

func status(l *eventlog.Log, name string) string {
	s := l.Subscriptions(name)[0]
	return fmt.Sprintf("floor %d lag %d unsettled %d members %d delivered %d redelivered %d dead %d",
		s.Floor, s.Lag, s.Unsettled, s.Members, s.Delivered, s.Redelivered, s.Dead)
}

func wantStatus(t *testing.T, l *eventlog.Log, want string) {
	t.Helper()
	synctest.Wait()
	if got := status(l, "s"); got != want {
		t.Errorf("status: %s\nwant:   %s", got, want)
	}
}

func TestSettledIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 5)
		m := join(t, l, "s", "m")
		want(t, m, "all", "1 2 3 4 5")
		ack(m, 1, 3, 4)
		want(t, m, "nothing new", "")
		wantStatus(t, l, "floor 1 lag 2 unsettled 2 members 1 delivered 5 redelivered 0 dead 0")
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		// In the next process; a delivery that was underway is not a try.
		l = open(t, d)
		wantStatus(t, l, "floor 1 lag 2 unsettled 2 members 0 delivered 0 redelivered 0 dead 0")
		m = join(t, l, "s", "other")
		want(t, m, "the unsettled", "2 5")
		fill(t, l, "x", 5, 6)
		want(t, m, "a new one", "6")
		ack(m, 2, 5, 6)
		wantStatus(t, l, "floor 6 lag 0 unsettled 0 members 1 delivered 3 redelivered 0 dead 0")
	})
}

// What was removed meanwhile holds up nothing, and is counted.
func TestRemovedWhileUnsettled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 4)
		m := join(t, l, "s", "m", ordered)
		want(t, m, "all", "1 2 3 4")
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"1", "3"} {
			if n, err := d.Erase(t.Context(), id); err != nil || n != 1 {
				t.Fatal(n, err)
			}
		}
		l = open(t, d)
		m = join(t, l, "s", "m", ordered)
		want(t, m, "what is left", "1 3")
		ack(m, 1, 3)
		fill(t, l, "x", 4, 5)
		want(t, m, "it goes on", "5")
		wantStatus(t, l, "floor 4 lag 1 unsettled 1 members 1 delivered 3 redelivered 0 dead 0")
		if n := l.Subscriptions("s")[0].Skipped; n != 2 {
			t.Errorf("%d skipped, want 2", n)
		}
	})
}

// Without a word from Stop: what was settled is on disk within an instant.
func TestSettledIsSavedSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 3)
		m := join(t, l, "s", "m")
		want(t, m, "all", "1 2 3")
		d.set(errDisk)
		ack(m, 1, 2)
		time.Sleep(time.Second)
		d.set(nil)
		time.Sleep(10 * time.Second) // an error is tried again
		kill := newDisk()
		states, err := d.States(t.Context())
		if err != nil || len(states) != 1 {
			t.Fatal(states, err)
		}
		all, _, err := d.Read(t.Context(), 0, filter(t), 10)
		if err == nil {
			err = kill.Commit(t.Context(), copies(all), states)
		}
		if err != nil {
			t.Fatal(err)
		}
		want(t, join(t, open(t, kill), "s", "m"), "after a kill", "3")
	})
}

func TestNack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 3)
		m := join(t, l, "s", "m")
		want(t, m, "all", "1 2 3")
		settle(m, pb.Outcome_NACK, 1, time.Minute, 1)
		settle(m, pb.Outcome_NACK, 1, 0, 2)
		want(t, m, "the one without a delay", "2/2")
		settle(m, pb.Outcome_NACK, 1, 0, 2)
		want(t, m, "an outcome of an earlier try does not count", "")
		begin := time.Now()
		for {
			all, err := receive(t, m)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) == 0 {
				// Signs of life; the other two are still handled.
				m.Settle(nil, []uint64{2, 3})
				continue
			}
			if took := time.Since(begin); all[0].Record.Sequence != 1 || all[0].Try != 2 || took < time.Minute-time.Second || took > time.Minute+time.Second {
				t.Errorf("%v after %v", all, took)
			}
			break
		}
	})
}

func TestDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 2)
		m := join(t, l, "s", "m", maxTries(2))
		want(t, m, "all", "1 2")
		d.set(errDisk)
		settle(m, pb.Outcome_REJECT, 1, 0, 1)
		settle(m, pb.Outcome_NACK, 1, 0, 2)
		want(t, m, "a second try", "2/2")
		settle(m, pb.Outcome_NACK, 2, 0, 2)
		want(t, m, "no third try", "")
		wantStatus(t, l, "floor 0 lag 2 unsettled 2 members 1 delivered 3 redelivered 1 dead 0") // not before they are on disk
		d.set(nil)
		time.Sleep(10 * time.Second)
		page, err := l.Read(t.Context(), 2, filter(t, event.DeadLetterType("s")), 10)
		if err != nil || len(page.Records) != 2 {
			t.Fatalf("dead letters: %v, %v", page, err)
		}
		for i, r := range page.Records {
			md := r.Metadata
			if r.RootId != fmt.Sprint(i) || r.Data != fmt.Sprint(i) || md[event.DeadTries] != fmt.Sprint(i+1) ||
				md[event.DeadReason] != "told to" || md[event.DeadType] != "x" || md[event.DeadSequence] != fmt.Sprint(i+1) {
				t.Errorf("dead letter %v", r)
			}
		}
		want(t, m, "they are not delivered", "")
		wantStatus(t, l, "floor 4 lag 0 unsettled 0 members 1 delivered 3 redelivered 1 dead 2")
	})
}

// Tries are counted across processes, but for those that the death of a
// process cut off.
func TestTriesAreRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 1)
		m := join(t, l, "s", "m", maxTries(3))
		want(t, m, "first", "1")
		settle(m, pb.Outcome_NACK, 1, 0, 1)
		want(t, m, "second", "1/2")
		for range 5 {
			if err := l.Stop(); err != nil {
				t.Fatal(err)
			}
			l = open(t, d)
			m = join(t, l, "s", "m", maxTries(3))
			want(t, m, "second, in another process", "1/2")
		}
		settle(m, pb.Outcome_NACK, 2, 0, 1)
		want(t, m, "third", "1/3")
		settle(m, pb.Outcome_NACK, 3, 0, 1)
		wantStatus(t, l, "floor 2 lag 0 unsettled 0 members 1 delivered 2 redelivered 2 dead 1")
	})
}

func TestAckWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 3)
		hung := join(t, l, "s", "hung", credit(2))
		want(t, hung, "its credit", "1 2")
		time.Sleep(ackWait - time.Second)
		hung.Settle(nil, []uint64{1}) // it still handles that one
		other := join(t, l, "s", "other")
		want(t, other, "the rest", "3")
		ack(other, 3)
		time.Sleep(2 * time.Second)
		want(t, other, "what was not settled in time", "2/2")
		ack(hung, 2) // late, and true all the same
		wantStatus(t, l, "floor 0 lag 1 unsettled 1 members 2 delivered 4 redelivered 1 dead 0")
	})
}

// Records of a key are handled one after the other, across members; a failing
// one holds up its key alone.
func TestOrderedByKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		for i, key := range []string{"k", "k", "j", "k", "", "j", ""} {
			r := record("x", fmt.Sprint(i))
			r.Key = key
			if i == 5 {
				r.Key, r.RootId = "", key // which stands in for it
			}
			if _, err := l.Create(t.Context(), []*pb.Record{r}); err != nil {
				t.Fatal(err)
			}
		}
		one := join(t, l, "s", "one", ordered)
		want(t, one, "the first of each key, and those without", "1 3 5 7")
		two := join(t, l, "s", "two", ordered)
		want(t, two, "nothing while they are underway", "")
		settle(one, pb.Outcome_NACK, 1, time.Minute, 1)
		ack(one, 3)
		one.Detach()
		want(t, two, "the next of j; k waits", "6")
		time.Sleep(20 * time.Second)
		ack(two, 6)
		want(t, two, "the first that the other left", "5/2")
		ack(two, 5)
		want(t, two, "the second, alone too", "7/2")
		ack(two, 7)
		time.Sleep(41 * time.Second)
		want(t, two, "the failed one, alone", "1/2")
		ack(two, 1)
		want(t, two, "the second of k", "2")
		ack(two, 2)
		want(t, two, "the third of k", "4")
	})
}

func TestUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 2)
		m := join(t, l, "s", "m")
		want(t, m, "all", "1 2")
		ack(m, 1, 2)
		if err := l.Unsubscribe(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		if _, err := receive(t, m); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("Next: %v", err)
		}
		if err := l.Unsubscribe(t.Context(), "s"); !errors.Is(err, rpcerr.ErrNotFound) {
			t.Errorf("a second time: %v", err)
		}
		if states, err := d.States(t.Context()); err != nil || len(states) > 0 {
			t.Errorf("still on disk: %v, %v", states, err)
		}
		want(t, join(t, l, "s", "m"), "a new one of the name", "1 2")
	})
}

// A subscription from now on, or of a log that is gone.
func TestStartOfSubscriptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 3)
		fromNow := func(m *plugin.Membership) { m.Conf.Start = pb.Start_NOW }
		m := join(t, l, "s", "m", fromNow)
		fill(t, l, "x", 3, 4)
		want(t, m, "from now on", "4")
		gone := func(m *plugin.Membership) { m.Conf.Start, m.Log, m.Held = pb.Start_NOW, "gone", []uint64{1} }
		want(t, join(t, l, "new", "m", gone), "whoever knew another log reads all of this", "1 2 3 4")
		some := func(m *plugin.Membership) { m.Conf.Types = []string{"y.*"} }
		typed := join(t, l, "typed", "m", some)
		fill(t, l, "y.z", 4, 5)
		want(t, typed, "its types", "5")
	})
}
