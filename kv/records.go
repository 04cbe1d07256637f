package kv

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/kv/internal/lru"
	pb "github.com/micro/go-platform/kv/proto"
)

// version orders what is written to a key. The fencing token comes first, so
// that a holder of a later lock wins whatever the clocks say; the count is a
// hybrid logical clock (S. Kulkarni et al., "Logical Physical Clocks", OPODIS
// 2014); the writer makes it unique.
type version struct {
	token, count, writer uint64
}

func (v version) compare(w version) int {
	return cmp.Or(cmp.Compare(v.token, w.token), cmp.Compare(v.count, w.count), cmp.Compare(v.writer, w.writer))
}

func (v version) message() *pb.Version {
	return &pb.Version{Token: v.token, Count: v.count, Writer: v.writer}
}

func versionOf(m *pb.Version) version { return version{m.GetToken(), m.GetCount(), m.GetWriter()} }

// clock counts microseconds, but never twice the same nor below what it saw.
type clock struct{ last atomic.Uint64 }

func (c *clock) next(seen uint64) uint64 {
	for {
		last := c.last.Load()
		next := max(last+1, seen+1, uint64(time.Now().UnixMicro()))
		if c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// record is what a member keeps of a key; it is immutable. One that is gone only
// remembers its version, so that what was deleted does not come back from a
// member that missed it.
type record struct {
	value    []byte
	version  version
	deadline time.Duration // since the start of the member, 0 for none
	gone     bool
	goneAt   time.Duration
}

// Size implements lru.Value.
func (r *record) Size() int { return len(r.value) }

func (r *record) over(now time.Duration) bool {
	return r.gone || r.deadline > 0 && now >= r.deadline
}

// message returns the record as seen now; its receiver counts its time to live by
// a clock of its own.
func (r *record) message(key string, now time.Duration, value bool) *pb.Record {
	m := &pb.Record{Key: []byte(key), Version: r.version.message(), Gone: r.over(now)}
	if m.Gone {
		return m
	}
	if r.deadline > 0 {
		m.TtlMs = max(1, (r.deadline - now).Milliseconds())
	}
	if value {
		m.Value = r.value
	}
	return m
}

// records are those that one member keeps.
type records struct {
	cache  *lru.Cache[*record]
	began  time.Time
	clock  clock
	writer uint64
}

func (s *records) now() time.Duration { return time.Since(s.began) }

func (s *records) read(key string, value bool) *pb.Record {
	r, ok := s.cache.Get(key)
	if !ok {
		return nil
	}
	return r.message(key, s.now(), value)
}

// write keeps m if its version is the highest, and returns which one is now. With
// replace nothing is kept where nothing is there. stale tells that the token was
// refused.
func (s *records) write(m *pb.Record, replace bool) (now version, stale bool) {
	offered := versionOf(m.Version)
	s.cache.Do(string(m.Key), func(old *record, ok bool) (*record, bool) {
		if ok {
			now = old.version
		}
		stale = offered.token < now.token
		if stale || replace && !ok || offered.compare(now) <= 0 {
			return old, ok
		}
		now = offered
		next := &record{version: offered, gone: m.Gone, goneAt: s.now()}
		if !m.Gone {
			next.value = m.Value
		}
		if m.TtlMs > 0 {
			next.deadline = s.now() + time.Duration(m.TtlMs)*time.Millisecond
		}
		return next, true
	})
	return now, stale
}

// expire frees the values of what has expired.
func (s *records) expire() {
	now := s.now()
	var over []string
	s.cache.Range(func(key string, r *record) (drop, more bool) {
		if !r.gone && r.over(now) {
			over = append(over, key)
		}
		return false, true
	})
	for _, key := range over {
		s.cache.Do(key, func(r *record, ok bool) (*record, bool) {
			if !ok || r.gone || !r.over(now) {
				return r, ok
			}
			return &record{version: r.version, gone: true, goneAt: now}, true
		})
	}
}

// goneFor returns what is gone for longer than d.
func (s *records) goneFor(d time.Duration) (gone []*pb.Record) {
	now := s.now()
	s.cache.Range(func(key string, r *record) (drop, more bool) {
		if r.gone && now-r.goneAt >= d {
			gone = append(gone, r.message(key, now, false))
		}
		return false, true
	})
	return gone
}

// forget removes what is gone, unless there is something newer.
func (s *records) forget(m *pb.Record) {
	s.cache.Do(string(m.Key), func(r *record, ok bool) (*record, bool) {
		return r, ok && (!r.gone || r.version != versionOf(m.Version))
	})
}
