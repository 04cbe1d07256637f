package eventlog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event/plugin"
)

func types(t ...string) func(*plugin.Membership) {
	return func(m *plugin.Membership) { m.Conf.Types = t }
}

// A record that a read underway leaves out, because it began before a member
// joined that named the type, is read again.
func TestJoinDuringRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "a", 0, 1)
		fill(t, l, "b", 1, 2)
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d) // none of it is in memory
		d.reads = make(chan struct{})
		older := join(t, l, "s", "older", types("a"))
		synctest.Wait() // it reads
		newer := join(t, l, "s", "newer", types("b"))
		close(d.reads)
		want(t, older, "its own", "1")
		want(t, newer, "its own", "2")
	})
}

// The types of a member that is gone stay wanted for linger, also over a restart of
// the log. After that their records are passed over.
func TestTypesOfTheGoneStayWanted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		older, newer := join(t, l, "s", "older", types("a")), join(t, l, "s", "newer", types("a", "b"))
		fill(t, l, "b", 0, 1)
		want(t, newer, "its own", "1")
		ack(newer, 1)
		if err := newer.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		fill(t, l, "b", 1, 2)
		fill(t, l, "a", 2, 3)
		want(t, older, "what it named", "3")
		ack(older, 3)
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d)
		older = join(t, l, "s", "older", types("a"))
		fill(t, l, "a", 3, 4)
		want(t, older, "what it named, after a restart", "4")
		ack(older, 4)
		newer = join(t, l, "s", "newer", types("a", "b"))
		want(t, newer, "what came while it was away", "2")
		ack(newer, 2)
		newer.Detach()
		fill(t, l, "b", 4, 5)
		time.Sleep(3 * time.Minute)
		fill(t, l, "a", 5, 6)
		want(t, older, "what it named, at last", "6")
		ack(older, 6)
		newer = join(t, l, "s", "newer", types("a", "b"))
		want(t, newer, "nothing of long ago", "")
	})
}

// When all members have left on purpose the next members decide anew.
func TestTypesOfNobodyAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		if err := join(t, l, "s", "one", types("a")).Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := join(t, l, "s", "other", types("b"))
		fill(t, l, "a", 0, 1)
		fill(t, l, "b", 1, 2)
		want(t, other, "its own", "2")
		ack(other, 2)
		wantStatus(t, l, "floor 2 lag 0 unsettled 0 members 1 delivered 1 redelivered 0 dead 0")
	})
}
