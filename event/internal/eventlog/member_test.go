package eventlog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

func TestGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		one := join(t, l, "s", "one", credit(2))
		two := join(t, l, "s", "two", credit(2))
		fill(t, l, "x", 0, 10)
		a, b := now(t, one), now(t, two)
		if len(a) != 3 || len(b) != 3 || a == b {
			t.Fatalf("shared as %q and %q, want two each", a, b)
		}
		want(t, one, "no more than its credit", "")
		if err := one.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest := join(t, l, "s", "three", credit(20))
		var given string
		for _, s := range strings.Fields("1 2 3 4") {
			if !strings.Contains(b, s) {
				given += s + " "
			}
		}
		want(t, rest, "what the one gave back at once, as if it had never had it, and the rest", given+"5 6 7 8 9 10")
		wantStatus(t, l, "floor 0 lag 10 unsettled 10 members 2 delivered 12 redelivered 0 dead 0")
	})
}

// A member whose connection broke has a moment to come back.
func TestBrokenConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 3)
		m := join(t, l, "s", "m")
		want(t, m, "all", "1 2 3")
		other := join(t, l, "s", "other", credit(1))
		m.Detach()
		time.Sleep(4 * time.Second)
		want(t, other, "nothing yet", "")
		m = join(t, l, "s", "m", func(m *plugin.Membership) { m.Held = []uint64{2} })
		want(t, m, "what it came back without", "1/2 3/2")
		ack(m, 2)
		time.Sleep(5 * time.Second)
		m.Detach()
		time.Sleep(6 * time.Second)
		if s := l.Subscriptions("s")[0]; s.Members != 1 {
			t.Errorf("%d members", s.Members)
		}
		want(t, other, "what the other did not come back for, as far as its credit goes", "1/3")
		// The same name connects twice: the older one has to go.
		twin := join(t, l, "s", "other")
		if _, err := receive(t, other); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("the older connection: %v", err)
		}
		want(t, twin, "the newer connection", "1/4")
		ack(twin, 1)
		want(t, twin, "what was lost with it before, alone too", "3/3")
	})
}

// A member that outlived the server's process goes on with what it handles.
func TestHeldAcrossProcesses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 4)
		want(t, join(t, l, "s", "m"), "all", "1 2 3 4")
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d)
		m, err := l.Join(t.Context(), membership("s", "m", func(m *plugin.Membership) { m.Held, m.Log = []uint64{2, 3}, l.ID() }))
		if err != nil {
			t.Fatal(err)
		}
		ack(m, 3)
		other := join(t, l, "s", "other")
		got := now(t, m) + " " + now(t, other)
		if strings.Contains(got, "2") || strings.Contains(got, "3") || !strings.Contains(got, "1") || !strings.Contains(got, "4") {
			t.Errorf("delivered again: %q, want 1 and 4", got)
		}
		ack(m, 1, 2, 4)
		time.Sleep(2 * ackWait)
		want(t, m, "everything is acknowledged", "")
		want(t, other, "everything is acknowledged", "")
	})
}

// The log was killed before it saved what it heard: a member says it again,
// also before the new process has read the records.
func TestAcknowledgedBeforeItIsReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		m := join(t, l, "s", "m")
		fill(t, l, "x", 0, 2)
		want(t, m, "all", "1 2")
		if err := l.Stop(); err != nil { // with both unsettled
			t.Fatal(err)
		}
		fresh := open(t, d)
		fill(t, fresh, "x", 2, 4)
		if err := fresh.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d)
		d.reads = make(chan struct{})
		m = join(t, l, "s", "m")
		synctest.Wait()
		ack(m, 1, 3) // unsettled by the state, and beyond its end
		close(d.reads)
		want(t, m, "the others", "2 4")
		ack(m, 2, 4)
		wantStatus(t, l, "floor 4 lag 0 unsettled 0 members 1 delivered 2 redelivered 0 dead 0")
	})
}

// Members that died are forgotten: only so many are let in.
func TestDeadMembersAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 1)
		for i := range 1100 {
			m, err := l.Join(t.Context(), membership("s", fmt.Sprint("m", i), credit(1)))
			if err != nil {
				t.Fatal(err)
			}
			if got := now(t, m); !strings.HasPrefix(got, "1") {
				t.Fatalf("member %d got %q", i, got)
			}
			m.Detach()
			time.Sleep(6 * time.Second)
		}
	})
}

// However much credit it has, a subscription holds a bounded number of records.
func TestWindowIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 6000)
		m := join(t, l, "s", "m", credit(event.MaxPrefetch))
		n := len(strings.Fields(now(t, m)))
		if n < 4096 || n > 4096+256 {
			t.Fatalf("%d records are underway, want 4096 or a page more", n)
		}
		for seq := range n {
			ack(m, uint64(seq)+1)
		}
		if more := len(strings.Fields(now(t, m))); n+more != 6000 {
			t.Errorf("%d and then %d, want 6000", n, more)
		}
	})
}

func TestBadMemberships(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		for field, change := range map[string]func(*plugin.Membership){
			"subscription.name":      func(m *plugin.Membership) { m.Conf.Name = "a\nb" },
			"member":                 func(m *plugin.Membership) { m.Member = "" },
			"credit":                 func(m *plugin.Membership) { m.Credit = event.MaxPrefetch + 1 },
			"subscription.ack_wait":  func(m *plugin.Membership) { m.Conf.AckWait = 1 },
			"subscription.max_tries": func(m *plugin.Membership) { m.Conf.MaxTries = -1 },
			"types":                  func(m *plugin.Membership) { m.Conf.Types = []string{"a*"} },
			"sequence":               func(m *plugin.Membership) { m.Conf.Start = pb.Start_SEQUENCE },
			"time":                   func(m *plugin.Membership) { m.Conf.Start, m.Conf.Time = pb.Start_TIME, -1 },
		} {
			_, err := l.Join(t.Context(), membership("s", "m", change))
			if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), field) {
				t.Errorf("a bad %s: %v", field, err)
			}
		}
		if n := len(l.Subscriptions("")); n > 0 {
			t.Errorf("%d subscriptions were made", n)
		}
	})
}
