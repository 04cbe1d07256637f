package metrics

import (
	"fmt"
	"slices"
	"time"
)

// Idle series of a full family are evicted. A sweep sets open gates to unasked; the
// next update of such a series notes its time and opens the gate. A later sweep
// evicts the series whose gate is still unasked and whose last noted update is older
// than Idle.

// sweep is called with the collect mutex held, after the series were read.
func (s *Store) sweep(now time.Time) {
	if now.Sub(s.swept) < s.conf.Idle/2 {
		return
	}
	s.swept = now
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	left := make(map[*family]bool)
	for _, series := range all {
		if f := series.family; f.full.Load() && series != f.root && !series.rest && series.leaves(now, s.conf.Idle) {
			left[f] = true
		}
	}
	if len(left) == 0 {
		return
	}
	for f := range left {
		f.forget()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(slices.Clone(s.all), func(series *Series) bool { return left[series.family] && series.gate.Load() == gone })
}

// leaves evicts the series if it was idle for too long, and reports whether it did.
func (s *Series) leaves(now time.Time, idle time.Duration) bool {
	if s.gate.CompareAndSwap(open, unasked) {
		return false
	}
	return now.Sub(time.Unix(0, s.touched.Load())) > idle && s.gate.CompareAndSwap(unasked, gone)
}

// forget removes the evicted series from the family, which makes room for others.
func (f *family) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := make(map[*Series]bool)
	f.byTags.keep(func(s spelled) bool {
		if s.series.gate.Load() != gone {
			return true
		}
		left[s.series] = true
		return false
	})
	f.count -= len(left)
	f.full.Store(f.count >= f.store.conf.MaxSeries)
}

// readmit returns the series that takes the updates of s, which was evicted: s
// itself if there is room, a series with its tags that was made meanwhile, or the
// overflow series.
func (f *family) readmit(s *Series) *Series {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.lookup(s.Tags); other != nil {
		return other
	}
	if f.count >= f.store.conf.MaxSeries {
		f.full.Store(true)
		return f.rest()
	}
	s.gate.CompareAndSwap(gone, unasked)
	f.byTags.add(f.store.hash(s.Tags), spelled{s.Tags, s})
	f.count++
	f.publish(s)
	return s
}

// crowd names, of the ids that are full, the field with the most values.
func (s *Store) crowd() string {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	type field struct {
		f    *family
		name string
	}
	values := make(map[field]map[string]struct{})
	var most field
	for _, series := range all {
		if !series.family.full.Load() || series.rest {
			continue
		}
		for _, t := range series.Tags {
			at := field{series.family, t.Name}
			if values[at] == nil {
				values[at] = make(map[string]struct{})
			}
			values[at][t.Value] = struct{}{}
			if len(values[at]) > len(values[most]) {
				most = at
			}
		}
	}
	if most.f == nil {
		return "more series than MaxSeries"
	}
	return fmt.Sprintf("more series than MaxSeries of %s, whose field %s has %d values", most.f.id, most.name, len(values[most]))
}
