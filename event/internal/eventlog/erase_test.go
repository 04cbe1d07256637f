package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// What could not be removed from disk is removed later, without anybody asking
// again; whoever asks again is not told that it is gone already.
func TestUnsubscribeOnABadDisk(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("again ", again), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDisk()
				l := open(t, d)
				join(t, l, "s", "m").Detach()
				time.Sleep(time.Minute) // nothing is left to be saved
				d.set(errDisk)
				for range 2 {
					if err := l.Unsubscribe(t.Context(), "s"); !errors.Is(err, errDisk) {
						t.Errorf("Unsubscribe: %v", err)
					}
				}
				d.set(nil)
				if again {
					if err := l.Unsubscribe(t.Context(), "s"); err != nil {
						t.Errorf("Unsubscribe again: %v", err)
					}
				} else {
					time.Sleep(time.Minute)
				}
				if states, err := d.States(t.Context()); err != nil || len(states) > 0 {
					t.Errorf("still on disk: %v, %v", states, err)
				}
				if err := l.Unsubscribe(t.Context(), "s"); !errors.Is(err, rpcerr.ErrNotFound) {
					t.Errorf("of what is gone: %v", err)
				}
			})
		})
	}
}

// eraser is a store of which somebody erases the first record of a commit as
// soon as it is there.
type eraser struct {
	*disk
	erase func(id string)
}

func (e eraser) Commit(ctx context.Context, entries []*eventlog.Entry, states []eventlog.State) error {
	if len(entries) > 0 {
		go e.erase(entries[0].Record.Id)
		runtime.Gosched() // it waits for this commit
	}
	return e.disk.Commit(ctx, entries, states)
}

// What is erased right after its commit stays erased, for readers of memory
// too. A large commit leaves the eraser time to come before they are told.
func TestEraseDuringItsAppend(t *testing.T) {
	var l *eventlog.Log
	erased := make(chan error, 1)
	l = open(t, eraser{newDisk(), func(id string) {
		_, err := l.Erase(context.Background(), id)
		erased <- err
	}})
	const large = 3000
	for round := range 10 {
		var entries []*eventlog.Entry
		for i := range large {
			entries = append(entries, eventlog.NewEntry(record("x", fmt.Sprint(round, "/", i))))
		}
		first := l.Last()
		if err := errors.Join(l.Append(t.Context(), entries), <-erased); err != nil {
			t.Fatal(err)
		}
		page, err := l.Read(t.Context(), first, filter(t), large)
		stored, serr := l.Find(t.Context(), entries[0].Record.Id)
		if err != nil || serr != nil || len(page.Records) == 0 {
			t.Fatal(err, serr)
		}
		if stored == nil && page.Records[0].Id == entries[0].Record.Id {
			t.Fatalf("round %d: readers get what was erased", round)
		}
	}
}

// Nobody can keep a record from becoming a dead letter by publishing its id
// first, and one that was appended already is not appended again.
func TestForgedDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 2)
		m := join(t, l, "s", "m")
		want(t, m, "all", "1 2")
		for _, seq := range []uint64{1, 2} {
			r := eventlog.DeadLetter("s", &pb.Record{Id: fmt.Sprint(seq - 1), Sequence: seq}, 1, "")
			if seq == 1 {
				r.Type = "forged"
			}
			if err := l.Append(t.Context(), []*eventlog.Entry{{Record: r}}); err != nil {
				t.Fatal(err)
			}
		}
		settle(m, pb.Outcome_REJECT, 1, 0, 1, 2)
		synctest.Wait()
		page, err := l.Read(t.Context(), 0, filter(t, event.DeadLetterType("s")), 10)
		if err != nil || len(page.Records) != 2 || page.Records[1].Metadata[event.DeadReason] != "told to" {
			t.Errorf("dead letters %v, %v", page, err)
		}
		if s := l.Subscriptions("s")[0]; s.Dead != 2 {
			t.Errorf("%v", s)
		}
	})
}

// The time of append does not go back when the clock does between two
// processes.
func TestClockThatGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		ahead := time.Now().Add(time.Hour).UnixNano()
		if err := d.Commit(t.Context(), []*eventlog.Entry{{Record: &pb.Record{Id: "1", Type: "x", Appended: ahead}}}, nil); err != nil {
			t.Fatal(err)
		}
		l := open(t, d)
		fill(t, l, "x", 2, 3)
		page, err := l.Read(t.Context(), 1, filter(t), 10)
		if err != nil || len(page.Records) != 1 || page.Records[0].Appended < ahead {
			t.Errorf("%v, %v", page, err)
		}
	})
}

// fence is a store that another process takes over.
type fence struct {
	*disk
	closed atomic.Bool
}

func (f *fence) Bounds(ctx context.Context) (expired, last uint64, err error) {
	expired, last, err = f.disk.Bounds(ctx)
	if f.closed.Load() {
		err = fmt.Errorf("bounds: %w", eventlog.ErrFenced)
	}
	return expired, last, err
}

// A log that has nothing to write finds out too that it was taken over: else its
// followers would wait for ever.
func TestFencedWithoutAWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &fence{disk: newDisk()}
		l := open(t, f)
		followed := make(chan error, 1)
		go func() {
			followed <- l.Follow(t.Context(), 0, filter(t), 10, func(*plugin.Page) error { return nil })
		}()
		synctest.Wait()
		f.closed.Store(true)
		begin := time.Now()
		if err := <-followed; !errors.Is(err, eventlog.ErrFenced) || time.Since(begin) > 10*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}
