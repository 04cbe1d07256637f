package kv

import (
	"context"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	pb "github.com/micro/go-platform/kv/proto"
)

// Bounds of the writes that are offered again. What is dropped is left to readers.
const (
	maxMissed      = 10_000
	maxMissedBytes = 16 << 20
)

// gap is where a write is missing.
type gap struct {
	node node
	key  string
}

// repeat is a write that an owner did not confirm.
type repeat struct {
	record *pb.Record
	since  time.Time
}

// missed are writes that were acknowledged, or may have been, without one of the
// owners. It is offered them again, so that the item is on all of them also if
// nobody reads it.
type missed struct {
	mu    sync.Mutex
	by    map[gap]repeat
	bytes int
}

func (m *missed) add(to node, r *pb.Record) { m.put(gap{to, string(r.Key)}, repeat{r, time.Now()}) }

// put keeps the newest write of a key.
func (m *missed) put(at gap, x repeat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.by[at]
	if ok && versionOf(old.record.Version).compare(versionOf(x.record.Version)) >= 0 {
		return
	}
	if grown := m.bytes + len(x.record.Value) - len(old.record.GetValue()); (ok || len(m.by) < maxMissed) && grown <= maxMissedBytes {
		m.by[at], m.bytes = x, grown
	}
}

func (m *missed) take() map[gap]repeat {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.by
	m.by, m.bytes = make(map[gap]repeat), 0
	return all
}

// at returns the record as it would be now.
func (x repeat) at(now time.Time) *pb.Record {
	r := &pb.Record{Key: x.record.Key, Value: x.record.Value, TtlMs: x.record.TtlMs, Gone: x.record.Gone, Version: x.record.Version}
	if r.TtlMs > 0 {
		if r.TtlMs -= now.Sub(x.since).Milliseconds(); r.TtlMs <= 0 {
			r.Value, r.TtlMs, r.Gone = nil, 0, true
		}
	}
	return r
}

// repeat offers what was missed again, but not for so long that the owners could
// have forgotten that it was deleted since.
func (p *platform) repeat(ctx context.Context) {
	lifecycle.Every(ctx, p.interval(), func() {
		v, now := p.view.Load(), time.Now()
		if v == nil {
			return
		}
		for at, x := range p.missed.take() {
			if to := v.owner(at); to >= 0 && now.Sub(x.since) < p.retention/2 {
				p.offer(v, to, at, x, now)
			}
		}
	})
}

// owner returns the index of a node that still owns the key, or -1.
func (v *view) owner(at gap) int {
	for _, i := range v.ring.of(slotOf(at.key)) {
		if v.nodes[i] == at.node {
			return int(i)
		}
	}
	return -1
}

func (p *platform) offer(v *view, to int, at gap, x repeat, now time.Time) {
	if p.members.isFailing(at.node.id) {
		p.missed.put(at, x)
		return
	}
	p.send(v, to, []*pb.Op{{Kind: pb.Op_WRITE, Record: x.at(now)}}, func(_ []*pb.Result, err error) {
		if err != nil {
			p.missed.put(at, x)
		}
	})
}
