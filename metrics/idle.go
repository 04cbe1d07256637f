package metrics

import (
	"fmt"
	"slices"
	"time"
)

// Series of a full family make room when they are idle. A sweep asks those whose
// gate is open to say so at their next update, which costs that one update a look
// at the clock; those that said nothing until a later sweep go.

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

// leaves reports whether the series was idle for too long and is gone by that.
func (s *Series) leaves(now time.Time, idle time.Duration) bool {
	if s.gate.CompareAndSwap(open, unasked) {
		return false
	}
	return now.Sub(time.Unix(0, s.touched.Load())) > idle && s.gate.CompareAndSwap(unasked, gone)
}

// forget gives the places of series that are gone to others.
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

// readmit returns the series in whose place s is now: s itself, which goes on where
// it was, one that was made meanwhile, or the overflow.
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

// crowd says which field of which id has the most values, of the ids that are
// full.
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
