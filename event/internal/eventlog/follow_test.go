package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// follower checks that it gets each record once and in order.
type follower struct {
	last    atomic.Uint64
	skipped atomic.Uint64
	empty   atomic.Int64
	over    chan error
}

func follow(ctx context.Context, t *testing.T, l *eventlog.Log, after uint64, hold <-chan struct{}) *follower {
	f := &follower{over: make(chan error, 1)}
	f.last.Store(after)
	go func() {
		f.over <- l.Follow(ctx, after, filter(t), 100, func(p *plugin.Page) error {
			if len(p.Records) == 0 {
				f.empty.Add(1)
			}
			if len(p.Records) > 100 {
				t.Errorf("a page of %d records, want at most 100", len(p.Records))
			}
			f.skipped.Add(p.Skipped)
			f.last.Add(p.Skipped)
			for _, r := range p.Records {
				if hold != nil {
					<-hold
				}
				if want := f.last.Load() + 1; r.Sequence != want {
					return fmt.Errorf("got %d, want %d", r.Sequence, want)
				}
				f.last.Store(r.Sequence)
			}
			return nil
		})
	}()
	return f
}

// Followers get history, then what is live, with no gap in between, however
// far behind they are; one that stands still costs the others nothing and
// misses nothing.
func TestFollowers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 9000) // more than memory holds
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hold := make(chan struct{})
		slow := follow(ctx, t, l, 0, hold)
		fast := follow(ctx, t, l, 0, nil)
		late := follow(ctx, t, l, 8990, nil)
		const end = 20_000
		fill(t, l, "x", 9000, end)
		synctest.Wait()
		for what, f := range map[string]*follower{"from the beginning": fast, "from the end": late} {
			if n := f.last.Load(); n != end {
				t.Errorf("the follower %s is at %d of %d", what, n, end)
			}
		}
		if n := slow.last.Load(); n != 0 {
			t.Fatalf("the slow one handled %d", n)
		}
		close(hold)
		synctest.Wait()
		if n := slow.last.Load(); n != end {
			t.Errorf("the slow one is at %d of %d", n, end)
		}
		if n := slow.skipped.Load(); n > 0 {
			t.Errorf("%d skipped", n)
		}
		cancel()
		for _, f := range []*follower{slow, fast, late} {
			if err := <-f.over; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

func TestFollowEndsWithItsReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 1)
		err := l.Follow(t.Context(), 0, filter(t), 10, func(p *plugin.Page) error {
			if len(p.Records) > 0 {
				return errDisk
			}
			return nil
		})
		if !errors.Is(err, errDisk) {
			t.Errorf("Follow: %v", err)
		}
	})
}

func TestSignsOfLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		ctx, cancel := context.WithTimeout(t.Context(), 10*eventlog.LifeSign+time.Second)
		defer cancel()
		f := follow(ctx, t, l, 0, nil)
		m := join(t, l, "s", "m")
		for range 3 {
			if d, err := receive(t, m); err != nil || len(d) > 0 {
				t.Errorf("a member of a quiet log: %v, %v", d, err)
			}
		}
		<-f.over
		if n := f.empty.Load(); n != 11 { // where it stands, and ten times that nothing happened
			t.Errorf("%d signs of life in 51 s", n)
		}
	})
}

// vast is a store that takes its time to look at a stretch of the log.
type vast struct{ *disk }

const stretch, lookTime = 100, time.Second

func (v vast) Read(ctx context.Context, after uint64, f plugin.Filter, _ int) ([]*pb.Record, uint64, error) {
	time.Sleep(lookTime)
	records, cursor, err := v.disk.Read(ctx, after, plugin.Filter{}, stretch)
	return slices.DeleteFunc(records, func(r *pb.Record) bool { return !f.Match(r.Type) }), cursor, err
}

// Whoever follows a rare type is told how far the log was looked at, and goes
// on there when the connection breaks.
func TestSignsOfLifeWhileCatchingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		const count = 60 * stretch // a minute
		var all []*pb.Record
		for i := range count {
			all = append(all, record("common", fmt.Sprint(i)))
		}
		if err := d.Commit(t.Context(), copies(all, record("rare", "r")), nil); err != nil {
			t.Fatal(err)
		}
		l := open(t, vast{d})
		const impatience = 17 * time.Second
		cursor, begin, last := uint64(0), time.Now(), time.Now()
		err := l.Follow(t.Context(), 0, filter(t, "rare"), 100, func(p *plugin.Page) error {
			if quiet := time.Since(last); quiet > eventlog.LifeSign+lookTime {
				t.Errorf("nothing was heard for %v", quiet)
			}
			last, cursor = time.Now(), p.Cursor
			if time.Since(begin) > impatience || len(p.Records) > 0 {
				return errDisk
			}
			return nil
		})
		if !errors.Is(err, errDisk) || cursor < 17*stretch || cursor > 30*stretch {
			t.Fatalf("at %d of %d after %v: %v", cursor, count, time.Since(begin), err)
		}
		err = l.Follow(t.Context(), cursor, filter(t, "rare"), 100, func(p *plugin.Page) error {
			if len(p.Records) == 0 {
				return nil
			}
			return errDisk
		})
		if took := time.Since(begin); !errors.Is(err, errDisk) || took > 70*time.Second {
			t.Errorf("found after %v: %v", took, err)
		}
	})
}

func TestTypesOfRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		var all []*pb.Record
		for i, typ := range []string{"a", "a.b", "a.b.c", "ab.c", "b", "a."} {
			all = append(all, record(typ, fmt.Sprint(i)))
		}
		if _, err := l.Create(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		// A reserved type is the log's own to append.
		dead := eventlog.DeadLetter("s", all[0], 1, "why")
		if err := l.Append(t.Context(), []*eventlog.Entry{{Record: dead}}); err != nil {
			t.Fatal(err)
		}
		check := func(l *eventlog.Log) {
			t.Helper()
			for types, want := range map[string]string{
				"": "0 1 2 3 4 5", "*": "0 1 2 3 4 5", "a": "0", "a.*": "1 2 5", "a.b.*": "2", "b a.b": "1 4",
				dead.Type: dead.Id, event.ReservedPrefix + "*": dead.Id, "nobody": "",
			} {
				page, err := l.Read(t.Context(), 0, filter(t, strings.Fields(types)...), 100)
				if got := strings.Join(ids(page.Records), " "); err != nil || got != want || page.Cursor != 7 {
					t.Errorf("types %q: %s up to %d, %v; want %s up to 7", types, got, page.Cursor, err, want)
				}
			}
		}
		check(l)
		d := newDisk()
		if err := d.Commit(t.Context(), copies(all, dead), nil); err != nil {
			t.Fatal(err)
		}
		check(open(t, d)) // which has nothing in memory
	})
}

func copies(all []*pb.Record, more ...*pb.Record) (entries []*eventlog.Entry) {
	for _, r := range slices.Concat(all, more) {
		e := &eventlog.Entry{Record: &pb.Record{Id: r.Id, Type: r.Type}}
		entries = append(entries, e)
	}
	return entries
}

func TestWhereToBegin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, d)
		fill(t, l, "x", 0, 3)
		time.Sleep(time.Second)
		between := time.Now()
		time.Sleep(time.Second)
		fill(t, l, "x", 3, 5)
		for _, c := range []struct {
			what     string
			start    pb.Start
			sequence uint64
			nano     int64
			log      string
			want     uint64
		}{
			{"now", pb.Start_NOW, 0, 0, "", 5},
			{"beginning", pb.Start_BEGINNING, 0, 0, "", 0},
			{"sequence", pb.Start_SEQUENCE, 3, 0, "", 2},
			{"sequence of this log", pb.Start_SEQUENCE, 3, 0, l.ID(), 2},
			{"sequence of another log", pb.Start_SEQUENCE, 3, 0, "another", 0},
			{"time", pb.Start_TIME, 0, between.UnixNano(), "", 3},
			{"time before all", pb.Start_TIME, 0, 1, "", 0},
			{"time after all", pb.Start_TIME, 0, time.Now().Add(time.Hour).UnixNano(), "", 5},
		} {
			if got, err := l.Resolve(t.Context(), c.start, c.sequence, c.nano, c.log); err != nil || got != c.want {
				t.Errorf("%s: %d, %v; want %d", c.what, got, err, c.want)
			}
		}
		for field, f := range map[string]func() (uint64, error){
			"sequence": func() (uint64, error) { return l.Resolve(t.Context(), pb.Start_SEQUENCE, 0, 0, "") },
			"time":     func() (uint64, error) { return l.Resolve(t.Context(), pb.Start_TIME, 0, -1, "") },
			"start":    func() (uint64, error) { return l.Resolve(t.Context(), 99, 0, 0, "") },
		} {
			if _, err := f(); !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), field) {
				t.Errorf("a bad %s: %v", field, err)
			}
		}
	})
}

// Retention removes by age and by size; readers and subscriptions are told how
// much they missed.
func TestRetention(t *testing.T) {
	for name, conf := range map[string]eventlog.Config{
		"age":  {Retention: time.Hour},
		"size": {MaxBytes: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDisk()
				l := open(t, d, conf)
				m := join(t, l, "durable", "m")
				m.Detach()
				fill(t, l, "x", 0, 1000)
				if name == "age" {
					time.Sleep(30 * time.Minute)
					if page, err := l.Read(t.Context(), 0, filter(t), 10); err != nil || page.Skipped > 0 {
						t.Fatalf("too early: %d, %v", page.Skipped, err)
					}
				}
				time.Sleep(45*time.Minute + time.Second) // between two looks at what is old
				fill(t, l, "x", 1000, 1010)
				page, err := l.Read(t.Context(), 0, filter(t), 2000)
				if err != nil {
					t.Fatal(err)
				}
				kept := len(page.Records)
				if page.Skipped != uint64(1010-kept) || kept < 10 || kept > 100 || page.Cursor != 1010 {
					t.Errorf("%d skipped, %d read up to %d", page.Skipped, kept, page.Cursor)
				}
				if from, err := l.Resolve(t.Context(), pb.Start_BEGINNING, 0, 0, ""); err != nil || from != page.Skipped {
					t.Errorf("the beginning is %d, %v; want %d", from, err, page.Skipped)
				}
				f := follow(t.Context(), t, l, 0, nil)
				m = join(t, l, "durable", "m")
				synctest.Wait()
				if f.last.Load() != 1010 || f.skipped.Load() != page.Skipped {
					t.Errorf("a follower is at %d, %d skipped", f.last.Load(), f.skipped.Load())
				}
				skipped(t, l, m, page.Skipped)
				if r, err := appendOne(l, "0"); err != nil || r.Duplicate || r.Sequence != 1011 {
					t.Errorf("an id that was removed is new again: %v, %v", r, err)
				}
			})
		})
	}
}

// skipped checks that the member of "durable" is told how much it missed.
func skipped(t *testing.T, l *eventlog.Log, m *eventlog.Member, want uint64) {
	t.Helper()
	got, err := receive(t, m)
	if err != nil || len(got) == 0 || got[0].Record.Sequence != want+1 {
		t.Errorf("the durable subscription goes on with %v, %v", got, err)
	}
	if s := l.Subscriptions("durable")[0]; s.Skipped != want {
		t.Errorf("the durable subscription skipped %d, want %d", s.Skipped, want)
	}
}

// shared is a store that others append to.
type shared struct{ *disk }

func (shared) Shared() bool { return true }

func TestFollowersSeeWhatOthersAppend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, shared{d})
		f := follow(t.Context(), t, l, 0, nil)
		for _, e := range copies([]*pb.Record{record("x", "1"), record("x", "2")}) {
			if err := d.Commit(t.Context(), []*eventlog.Entry{e}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := f.last.Load(); n != 2 {
			t.Errorf("at %d of 2", n)
		}
		fill(t, l, "x", 3, 6)
		synctest.Wait()
		if n := f.last.Load(); n != 5 {
			t.Errorf("at %d of 5", n)
		}
	})
}

func TestErasedRecordsAreGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := open(t, newDisk())
		fill(t, l, "x", 0, 3)
		if n, err := l.Erase(t.Context(), "1"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		page, err := l.Read(t.Context(), 0, filter(t), 10)
		if got := strings.Join(ids(page.Records), " "); err != nil || got != "0 2" {
			t.Errorf("read %s, %v", got, err)
		}
		if r, err := l.Find(t.Context(), "1"); err != nil || r != nil {
			t.Errorf("found %v, %v", r, err)
		}
	})
}
