package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

type outcome struct {
	id       string
	sequence uint64
	err      error
}

// appendAll appends each id in a goroutine of its own.
func appendAll(l *eventlog.Log, out chan<- outcome, ids ...string) {
	for _, id := range ids {
		go func() {
			r, err := appendOne(l, id)
			out <- outcome{id, r.GetSequence(), err}
		}()
	}
}

func take(out <-chan outcome, n int) map[string]outcome {
	all := make(map[string]outcome)
	for range n {
		o := <-out
		all[o.id] = o
	}
	return all
}

func many(prefix string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(prefix, i))
	}
	return all
}

func TestAppendsShareACommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		let := d.stand()
		out := make(chan outcome, 3000)
		appendAll(l, out, "first")
		synctest.Wait() // it is being committed
		appendAll(l, out, many("a", 60)...)
		synctest.Wait()
		if n := len(out); n > 0 {
			t.Fatalf("%d appends were acknowledged before they were committed", n)
		}
		let(2)
		sequences := make(map[uint64]bool)
		for _, o := range take(out, 61) {
			if o.err != nil {
				t.Error(o.err)
			}
			sequences[o.sequence] = true
		}
		if got := d.counts(); !slices.Equal(got, []int{1, 60}) {
			t.Errorf("commits of %v entries, want 1 and 60", got)
		}
		if len(sequences) != 61 || l.Last() != 61 {
			t.Errorf("%d sequences, the last %d; want 61", len(sequences), l.Last())
		}
		// A commit is bounded.
		appendAll(l, out, "second")
		synctest.Wait()
		appendAll(l, out, many("b", 2500)...)
		synctest.Wait()
		d.free()
		take(out, 2501)
		if got := d.counts(); slices.Max(got) > 1000 || len(got) < 6 {
			t.Errorf("commits of %v entries, want at most 1000 in each", got)
		}
	})
}

var errDisk = errors.New("disk on fire")

func TestAnErrorFailsItsCommitAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		let := d.stand()
		out := make(chan outcome, 10)
		appendAll(l, out, "good")
		synctest.Wait()
		appendAll(l, out, "bad", "worse")
		synctest.Wait()
		let(1)
		if o := <-out; o.id != "good" || o.err != nil {
			t.Errorf("%+v", o)
		}
		d.set(errDisk)
		let(1)
		for id, o := range take(out, 2) {
			if !errors.Is(o.err, errDisk) || !errors.Is(o.err, event.ErrUnavailable) {
				t.Errorf("%s: %v", id, o.err)
			}
		}
		d.set(nil)
		d.free()
		if r, err := appendOne(l, "after"); err != nil || r.Sequence != 2 {
			t.Errorf("after: %v, %v", r, err)
		}
		page, err := l.Read(t.Context(), 0, filter(t), 10)
		if got := strings.Join(ids(page.Records), " "); err != nil || got != "good after" {
			t.Errorf("read %q, %v", got, err)
		}
		if r, err := appendOne(l, "bad"); err != nil || r.Sequence != 3 || r.Duplicate {
			t.Errorf("a record that failed is tried again: %v, %v", r, err)
		}
	})
}

// The store wrote and could not say so: the publisher tries again, and
// followers get what is there.
func TestCommitThatWasDoneAllTheSame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		f := follow(t.Context(), t, l, 0, nil)
		d.set(errDisk)
		d.lie = true
		if _, err := appendOne(l, "1"); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		d.set(nil)
		if r, err := appendOne(l, "1"); err != nil || !r.Duplicate || r.Sequence != 1 {
			t.Errorf("again: %v, %v", r, err)
		}
		synctest.Wait()
		if n := f.last.Load(); n != 1 {
			t.Errorf("a follower is at %d of 1", n)
		}
	})
}

// The publisher gave up, and nobody appends anything.
func TestCommitThatWasDoneIsShown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		f := follow(t.Context(), t, l, 0, nil)
		d.set(errDisk)
		d.lie = true
		if _, err := appendOne(l, "1"); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		d.set(nil)
		join(t, l, "s", "m") // the next commit has no record
		time.Sleep(2 * eventlog.LifeSign)
		synctest.Wait()
		if n := f.last.Load(); n != 1 {
			t.Errorf("a follower is at %d of 1", n)
		}
	})
}

func TestRefusedRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		sent := []*pb.Record{record("x", "1"), record("bad*", "2"), record("x", "3"), record("x", "1")}
		results, err := l.Create(t.Context(), sent)
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Sequence != 1 || results[2].Sequence != 2 || !strings.Contains(results[1].Error, "type") {
			t.Errorf("%v", results)
		}
		if r := results[3]; !r.Duplicate || r.Sequence != 1 {
			t.Errorf("a duplicate in the same request: %v", r)
		}
		if sent[0].Sequence != 0 || sent[0].Timestamp != 0 {
			t.Errorf("the caller's record was changed: %v", sent[0])
		}
		if r, err := appendOne(l, "3"); err != nil || !r.Duplicate || r.Sequence != 2 {
			t.Errorf("a duplicate: %v, %v", r, err)
		}
		if l.Last() != 2 {
			t.Errorf("last %d, want 2", l.Last())
		}
	})
}

func TestAppendGivesUpWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		d.stand()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Create(ctx, []*pb.Record{record("x", "1")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an append to a disk that stands still: %v", err)
		}
		d.free()
	})
}

// What Stop finds waiting is appended or refused, and everybody is told which.
func TestStopRefusesOrAppends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		d.stand()
		out := make(chan outcome, 30)
		appendAll(l, out, "0")
		synctest.Wait()
		appendAll(l, out, many("a", 20)...)
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- l.Stop() }()
		synctest.Wait()
		if _, err := appendOne(l, "late"); !errors.Is(err, event.ErrStopped) || !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("append after Stop: %v", err)
		}
		d.free()
		if err := <-stopped; err != nil {
			t.Errorf("Stop: %v", err)
		}
		for id, o := range take(out, 21) {
			r, err := d.Find(t.Context(), id)
			if err != nil || (r != nil) != (o.err == nil) {
				t.Errorf("record %s: told %v, on disk %v, %v", id, o.err, r != nil, err)
			}
		}
	})
}

// The older of two writers finds out with its next commit and refuses for good.
func TestFencedLogEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		m := join(t, l, "s", "m")
		followed := make(chan error, 1)
		go func() {
			followed <- l.Follow(t.Context(), 0, filter(t), 10, func(*plugin.Page) error { return nil })
		}()
		d.set(fmt.Errorf("commit: %w", eventlog.ErrFenced))
		for range 2 {
			if _, err := appendOne(l, "1"); !errors.Is(err, eventlog.ErrFenced) || !errors.Is(err, event.ErrUnavailable) {
				t.Errorf("append: %v", err)
			}
		}
		<-l.Done()
		before := len(d.counts())
		_, nextErr := receive(t, m)
		for what, err := range map[string]error{
			"Err": l.Err(), "Follow": <-followed, "Next": nextErr, "Flush": l.Flush(t.Context()),
		} {
			if !errors.Is(err, eventlog.ErrFenced) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := len(d.counts()); n > before {
			t.Errorf("%d commits of a log that was taken over", n-before)
		}
	})
}

// TestAFullDiskIsTold by one line when it begins and one when it ends, and by
// Ready, which a disk with room again makes well although nobody publishes.
func TestAFullDiskIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lines bytes.Buffer
		d := newDisk()
		l := open(t, d, eventlog.Config{Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		if _, err := appendOne(l, "a"); err != nil || l.Ready() != nil {
			t.Fatal(err, l.Ready())
		}
		d.set(errors.New("disk full"))
		for range 3 {
			if _, err := appendOne(l, "b"); !errors.Is(err, event.ErrUnavailable) {
				t.Errorf("append: %v", err)
			}
		}
		if err := l.Ready(); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("Ready: %v", err)
		}
		time.Sleep(3 * eventlog.LifeSign)
		synctest.Wait()
		if n := strings.Count(lines.String(), "level=ERROR"); n != 1 || !strings.Contains(lines.String(), "disk full") {
			t.Errorf("%d error lines:\n%s", n, lines.String())
		}
		d.set(nil)
		time.Sleep(3 * eventlog.LifeSign)
		synctest.Wait()
		if err := l.Ready(); err != nil || !strings.Contains(lines.String(), "written again") {
			t.Errorf("Ready: %v\n%s", err, lines.String())
		}
	})
}
