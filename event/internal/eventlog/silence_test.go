package eventlog_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// A record that kills whoever handles it becomes a dead letter; those that were
// delivered with it do not.
func TestPoisonDoesNotTaintItsNeighbours(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const count, poison = 300, 100
		l := open(t, newDisk())
		fill(t, l, "x", 0, count)
		handled := make(map[uint64]int)
		killed := 0
		for life := 0; len(handled) < count-1 || killed < 4; life++ {
			if life == 50 {
				t.Fatalf("%d handled, %d killed", len(handled), killed)
			}
			m := join(t, l, "s", fmt.Sprint("life ", life), credit(64), maxTries(3))
			for alive := true; alive; {
				synctest.Wait()
				all, err := receive(t, m)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range all {
					if alive = d.Record.Sequence != poison; !alive {
						killed++
						break
					}
					handled[d.Record.Sequence]++
					settle(m, pb.Outcome_ACK, d.Try, 0, d.Record.Sequence)
				}
				alive = alive && len(all) > 0 // a sign of life: there is no more
			}
			m.Detach()
			time.Sleep(6 * time.Second)
		}
		wantStatus(t, l, fmt.Sprintf("floor %d lag 0 unsettled 0 members 0 delivered %d redelivered %d dead 1",
			count+1, deliveries(l), deliveries(l)-count))
		if killed != 4 { // once among others, three times alone
			t.Errorf("the poison killed %d times", killed)
		}
		for seq, n := range handled {
			if n != 1 {
				t.Errorf("record %d was handled %d times", seq, n)
			}
		}
	})
}

func deliveries(l interface {
	Subscriptions(string) []*pb.SubscriptionStatus
}) uint64 {
	return l.Subscriptions("s")[0].Delivered
}

// Who takes one record at a time is to blame for what is lost.
func TestLossOfALoneRecordCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 1)
		m := join(t, l, "s", "m", credit(1), maxTries(1))
		want(t, m, "the one", "1")
		time.Sleep(ackWait + time.Second)
		wantStatus(t, l, "floor 2 lag 0 unsettled 0 members 1 delivered 1 redelivered 0 dead 1")
	})
}

// However much a member says to hold that the log will never read again, there
// is room for what others do hold.
func TestVainClaims(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 1)
		want(t, join(t, l, "s", "m"), "all", "1")
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d)
		d.reads = make(chan struct{})
		holds := func(sequences ...uint64) func(*plugin.Membership) {
			return func(m *plugin.Membership) { m.Held, m.Log = sequences, l.ID() }
		}
		var vain []uint64
		for seq := range uint64(5000) {
			vain = append(vain, seq+2)
		}
		liar := join(t, l, "s", "liar", holds(vain...))
		m := join(t, l, "s", "m", holds(1))
		close(d.reads)
		want(t, liar, "what the other holds", "")
		want(t, m, "what it holds", "")
		ack(m, 1)
		wantStatus(t, l, "floor 1 lag 0 unsettled 0 members 2 delivered 0 redelivered 0 dead 0")
	})
}

// A member that says of its try what a new process does not know of is right.
func TestOutcomeOfATryBeforeTheProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 1)
		m := join(t, l, "s", "m")
		want(t, m, "first", "1")
		settle(m, pb.Outcome_NACK, 1, 0, 1)
		want(t, m, "second", "1/2")
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d)
		m = join(t, l, "s", "m", func(m *plugin.Membership) { m.Held, m.Log = []uint64{1}, l.ID() })
		want(t, m, "it holds the second", "")
		settle(m, pb.Outcome_NACK, 2, 0, 1)
		want(t, m, "third", "1/3")
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		// Told before the process has read the record again: it is delivered anew.
		l = open(t, d)
		d.reads = make(chan struct{})
		m = join(t, l, "s", "m", func(m *plugin.Membership) { m.Held, m.Log = []uint64{1}, l.ID() })
		settle(m, pb.Outcome_NACK, 3, 0, 1)
		close(d.reads)
		want(t, m, "third, again", "1/3")
	})
}
