package eventlog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
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

// The types of a member that is gone stay wanted for Linger, also over a restart of
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

// When the last member leaves the types of all stay wanted, and the time in which
// nobody is there does not count.
func TestTypesOfTheLastStayWanted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		one := join(t, l, "s", "one", types("a"))
		fill(t, l, "a", 0, 2)
		want(t, one, "its own", "1 2")
		ack(one, 1)
		if err := one.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		fill(t, l, "a", 2, 3)
		fill(t, l, "b", 3, 4)
		time.Sleep(time.Hour)
		other := join(t, l, "s", "other", types("b"))
		want(t, other, "its own", "4")
		ack(other, 4)
		time.Sleep(time.Minute)
		again := join(t, l, "s", "again", types("a"))
		want(t, again, "what one left and what came meanwhile", "2 3")
		ack(again, 2, 3)
		wantStatus(t, l, "floor 4 lag 0 unsettled 0 members 2 delivered 5 redelivered 0 dead 0")
	})
}

// Records that members left unsettled do not hold up the others for longer than
// Linger, whoever left last and whatever was left.
func TestLeftoversDoNotStall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		newer := join(t, l, "s", "newer", types("b"), ordered)
		older := join(t, l, "s", "older", types("a"), ordered)
		stuck := record("b", "0")
		stuck.Key = "key"
		behind := record("a", "1")
		behind.Key = "key"
		if _, err := l.Create(t.Context(), []*pb.Record{stuck, behind}); err != nil {
			t.Fatal(err)
		}
		fill(t, l, "b", 2, 5000) // more than are read and not settled
		fill(t, l, "a", 5000, 5001)
		synctest.Wait()
		for _, m := range []*eventlog.Member{newer, older} {
			if err := m.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		older = join(t, l, "s", "older", types("a"), ordered)
		want(t, older, "nothing while others may come back", "")
		time.Sleep(eventlog.Linger + time.Second)
		want(t, older, "what was held up", "2 5001")
		ack(older, 2, 5001)
		wantStatus(t, l, "floor 5001 lag 0 unsettled 0 members 1 delivered 12 redelivered 0 dead 0")
		if n := l.Subscriptions("s")[0].Skipped; n != 0 {
			t.Errorf("%d records were removed", n)
		}
	})
}

// A log that is away for longer than Linger loses nothing, whoever comes back first.
func TestLongRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		older, newer := join(t, l, "s", "older", types("a")), join(t, l, "s", "newer", types("b"))
		for i, typ := range []string{"a", "b", "b", "a", "c", "b"} {
			fill(t, l, typ, i, i+1)
		}
		want(t, older, "its own", "1 4")
		want(t, newer, "its own", "2 3 6")
		ack(newer, 3)
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d)
		time.Sleep(time.Hour)
		older = join(t, l, "s", "older", types("a"))
		want(t, older, "what it had", "1 4")
		ack(older, 1, 4)
		newer = join(t, l, "s", "newer", types("b"))
		want(t, newer, "what it had", "2 6")
		ack(newer, 2, 6)
		wantStatus(t, l, "floor 6 lag 0 unsettled 0 members 2 delivered 4 redelivered 0 dead 0")
		if n := l.Subscriptions("s")[0].Skipped; n != 0 {
			t.Errorf("%d records were said to be removed", n)
		}
	})
}

// What a member names when it has joined is on disk: a process that is killed then
// and its successor pass over nothing of it.
func TestTypesAreOnDiskWhenJoined(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		killed := open(t, d)
		join(t, killed, "s", "older", types("a"))
		time.Sleep(time.Second) // that is saved
		join(t, killed, "s", "newer", types("b"))
		l := open(t, d)
		fill(t, l, "b", 0, 1)
		fill(t, l, "a", 1, 2)
		want(t, join(t, l, "s", "older", types("a")), "its own", "2")
		want(t, join(t, l, "s", "newer", types("b")), "its own", "1")
	})
}

// All that join a new subscription at once have it on disk, not only the one that
// made it.
func TestAllThatJoinedAreOnDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		let := d.stand()
		joined := make(chan error, 2)
		for _, id := range []string{"one", "two"} {
			go func() {
				m, err := l.Join(t.Context(), membership("s", id))
				if err == nil {
					defer m.Detach()
				}
				joined <- err
			}()
			synctest.Wait()
		}
		if n := len(joined); n > 0 {
			t.Errorf("%d joined what is not on disk", n)
		}
		let(1)
		d.free()
		for range 2 {
			if err := <-joined; err != nil {
				t.Error(err)
			}
		}
	})
}
