package metrics

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// family is one metric: an id, a kind and the series under it.
type family struct {
	metric
	store    *Store
	root     *Series
	byTags   table[spelled]
	full     atomic.Bool
	falls    atomic.Bool // one of its counters was decremented
	overflow atomic.Pointer[Series]
	restTags []Tag // of the overflow series

	mu    sync.Mutex
	count int // series besides root and overflow
}

// spelled is a caller's spelling of a set of tags: several may clean to one
// series.
type spelled struct {
	tags   []Tag
	series *Series
}

// newFamily is called with the store's mutex held.
func newFamily(s *Store, m metric) *family {
	f := &family{metric: m, store: s}
	given := sorted(s.conf.Fields)
	tags, _ := f.clean(given) // WithFields has checked their size
	f.root = f.newSeries(tags, given)
	f.root.bare = true
	f.restTags = sortTags(append([]Tag{{OverflowField, "true"}}, f.root.Tags...))
	f.byTags.add(f.root.hash, spelled{given, f.root})
	s.all = append(s.all, f.root)
	return f
}

func (f *family) newSeries(tags, given []Tag) *Series {
	series := &Series{Kind: f.kind, ID: f.id, Tags: tags, family: f, given: given, hash: f.store.hash(given)}
	series.since.Store(time.Now().UnixNano())
	if f.kind == HistogramKind {
		series.dist = newDistribution(&f.store.conf)
	}
	return series
}

// clean returns the tags as they go to the wire, sorted, and whether they fit. Names
// that become the same get a '_' behind them, in the order of the given tags.
func (f *family) clean(given []Tag) (tags []Tag, fits bool) {
	_, tags, fits = f.store.conf.Clean(f.id, slices.Clone(given))
	for i := range tags {
		for slices.ContainsFunc(tags[:i], func(t Tag) bool { return t.Name == tags[i].Name }) {
			tags[i].Name += "_"
		}
	}
	return sortTags(tags), fits
}

func (s *Store) hash(tags []Tag) (hash uint64) {
	for _, t := range tags {
		hash += s.pair(t.Name, t.Value)
	}
	return hash
}

// pair hashes one tag. The hash of a set is the sum over its tags, so that the
// order in which a map gives them does not matter.
func (s *Store) pair(name, value string) uint64 {
	high, low := bits.Mul64(maphash.String(s.seed, name)|1, maphash.String(s.seed, value))
	return high ^ low
}

// with returns the series of the family that has the tags of s and those of f.
func (s *Series) with(f Fields) *Series {
	if s.rest {
		return s
	}
	hash, n := s.hash, len(s.given)
	for name, value := range f {
		if name == "" || value == "" {
			continue
		}
		if old, ok := s.tag(name); ok {
			hash -= s.family.store.pair(name, old)
			n--
		}
		hash += s.family.store.pair(name, value)
		n++
	}
	for node := s.family.byTags.find(hash); node != nil; node = node.next {
		if node.hash == hash && len(node.value.tags) == n && s.spells(node.value.tags, f) {
			return node.value.series
		}
	}
	return s.family.add(s.merged(f), hash)
}

// spells reports whether tags, of the right number, are those of s and f.
func (s *Series) spells(tags []Tag, f Fields) bool {
	for i := range tags {
		value := f[tags[i].Name]
		if value == "" {
			value, _ = s.tag(tags[i].Name)
		}
		if value != tags[i].Value {
			return false
		}
	}
	return true
}

func (s *Series) tag(name string) (string, bool) {
	for i := range s.given {
		if s.given[i].Name == name {
			return s.given[i].Value, true
		}
	}
	return "", false
}

// merged returns the tags of s and f as they were spelled, sorted; those of f win.
func (s *Series) merged(f Fields) []Tag {
	return sortTags(append(sorted(f), s.given...))
}

// add finds or makes the series for tags that were not met before, and
// remembers their spelling.
func (f *family) add(raw []Tag, hash uint64) *Series {
	tags, ok := f.clean(raw)
	if !ok || slices.Equal(tags, f.restTags) {
		return f.rest()
	}
	series := f.lookup(tags)
	if series == nil && f.full.Load() {
		return f.rest()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if series = f.lookup(tags); series == nil {
		if f.count >= f.store.conf.MaxSeries {
			f.full.Store(true)
			return f.rest()
		}
		series = f.insert(tags, raw)
	}
	if !slices.Equal(raw, series.Tags) && f.byTags.count < 4*f.store.conf.MaxSeries && size(raw) <= maxRaw {
		f.byTags.add(hash, spelled{cloneTags(raw), series}) // a spelling beside the first
	}
	return series
}

// lookup finds a series by its cleaned tags.
func (f *family) lookup(tags []Tag) *Series {
	hash := f.store.hash(tags)
	for n := f.byTags.find(hash); n != nil; n = n.next {
		if n.hash == hash && slices.Equal(n.value.tags, tags) {
			return n.value.series
		}
	}
	return nil
}

// insert makes a series. The caller holds the family's mutex.
func (f *family) insert(tags, raw []Tag) *Series {
	tags = cloneTags(tags)
	given := tags
	if size(raw) <= maxRaw && !slices.Equal(raw, tags) {
		given = cloneTags(raw)
	}
	series := f.newSeries(tags, given)
	f.byTags.add(f.store.hash(tags), spelled{tags, series})
	f.count++
	f.publish(series)
	return series
}

func (f *family) publish(series *Series) {
	f.store.mu.Lock()
	f.store.all = append(f.store.all, series)
	f.store.mu.Unlock()
}

// rest returns the series that takes what has no room or no spelling.
func (f *family) rest() *Series {
	f.store.overflow.Add(1)
	if series := f.overflow.Load(); series != nil {
		return series
	}
	series := f.newSeries(f.restTags, f.restTags)
	series.rest = true
	if !f.overflow.CompareAndSwap(nil, series) {
		return f.overflow.Load()
	}
	f.publish(series)
	return series
}

// cloneTags copies tags and their strings, which may be slices of a larger
// message.
func cloneTags(tags []Tag) []Tag {
	out := make([]Tag, len(tags))
	for i, t := range tags {
		out[i] = Tag{strings.Clone(t.Name), strings.Clone(t.Value)}
	}
	return out
}

func size(tags []Tag) int {
	n := 0
	for _, t := range tags {
		n += len(t.Name) + len(t.Value)
	}
	return n
}
