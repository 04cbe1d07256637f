package srv

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/lifecycle"
)

const (
	// shareInterval is how often instances tell each other of decisions. It is
	// also what a crash loses.
	shareInterval = 30 * time.Second
	// shareMargin is by how much the clocks of instances may differ.
	shareMargin = 5 * time.Minute
	lastShare   = time.Second // bounds what is saved at stop
)

// sharing has decisions outlive their instance, and be known to all instances.
type sharing struct {
	*decisions
	store    Store
	log      *slog.Logger
	instance string // another one at each start
	interval time.Duration
	read     time.Time // when others were read
}

// run saves and reads until ctx ends, and saves a last time then. Trouble is
// logged when it begins and when it ends.
func (s *sharing) run(ctx context.Context) {
	failing := false
	for more := true; more; more = lifecycle.Sleep(ctx, s.interval) {
		err := s.share(ctx)
		if ctx.Err() == nil && (err != nil) != failing {
			if failing = err != nil; failing {
				s.log.Warn("cannot share what services decided: other instances do not know it, nor this one after a restart", "error", err)
			} else {
				s.log.Info("shares what services decided again")
			}
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastShare)
	defer cancel()
	if err := s.save(last); err != nil {
		s.log.Warn("cannot save what services decided", "error", err)
	}
}

func (s *sharing) share(ctx context.Context) error {
	if err := s.save(ctx); err != nil {
		return err
	}
	now := time.Now()
	since := s.read.Add(-shareMargin)
	if s.read.IsZero() {
		since = now.Add(-keepDenied)
	}
	found, err := s.store.Decisions(ctx, s.instance, since)
	if err != nil {
		return err
	}
	s.read = now
	s.learn(found, now)
	return nil
}

func (s *sharing) save(ctx context.Context) error {
	by := s.changed()
	if len(by) == 0 {
		return nil
	}
	err := s.store.SaveDecisions(ctx, s.instance, by, time.Now())
	if err != nil {
		s.mark(by)
	}
	return err
}

// changed returns the decisions of the reporters who reported since it was called
// last.
func (d *decisions) changed() map[string][]*pb.Decided {
	d.mu.Lock()
	defer d.mu.Unlock()
	by := map[string][]*pb.Decided{}
	if len(d.dirty) == 0 {
		return by
	}
	for key, is := range d.kept {
		if d.dirty[is.reporter] {
			by[is.reporter] = append(by[is.reporter], is.wire(key))
		}
	}
	d.dirty = map[string]bool{}
	return by
}

// mark has reporters saved again.
func (d *decisions) mark(by map[string][]*pb.Decided) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for reporter := range by {
		d.dirty[reporter] = true
	}
}

// learn takes over what other instances saved, and forgets what is too old.
func (d *decisions) learn(found []savedDecisions, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range found {
		d.others[[2]string{f.instance, f.reporter}] = f.decisions
	}
	for key, all := range d.others {
		old := true
		for _, is := range all {
			old = old && isOld(is.Last, is.Allowed, now)
		}
		if old {
			delete(d.others, key)
		}
	}
	d.crowdOut()
}

// crowdOut forgets what was reported to other instances longest ago while it is
// more than all may be: each start is an instance.
func (d *decisions) crowdOut() {
	n := 0
	latest := func(all []*pb.Decided) (last int64) {
		for _, is := range all {
			last = max(last, is.Last)
		}
		return last
	}
	for _, all := range d.others {
		n += len(all)
	}
	if n <= 2*maxDecisions {
		return
	}
	keys := slices.SortedFunc(maps.Keys(d.others), func(a, b [2]string) int { return cmp.Compare(latest(d.others[a]), latest(d.others[b])) })
	for _, key := range keys {
		if n <= 2*maxDecisions {
			return
		}
		n -= len(d.others[key])
		delete(d.others, key)
	}
}
