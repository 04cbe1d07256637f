package srv

import (
	"maps"
	"slices"
	"time"

	pb "github.com/micro/go-platform/router/proto"
)

// stats is what callers reported in the newest window: one sum, or one for each
// caller that the request wants.
func (t *table) stats(req *pb.StatsRequest, window time.Duration, slot int64) []*pb.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.parts) == 0 {
		return nil
	}
	if !req.ByClient && req.Client == "" {
		return []*pb.Stats{t.total(window, slot)}
	}
	var found []*pb.Stats
	for id, p := range t.parts {
		if req.Client == "" || req.Client == id {
			found = append(found, t.of(p, window, slot))
		}
	}
	return found
}

func (t *table) blank(window time.Duration) *pb.Stats {
	return &pb.Stats{
		Service:  &pb.Service{Name: t.name},
		Duration: int64((window + time.Second - 1) / time.Second), DurationMs: window.Milliseconds(),
	}
}

// total is the sum over all callers.
func (t *table) total(window time.Duration, slot int64) *pb.Stats {
	s := t.blank(window)
	for _, id := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[id]
		var m measured
		n.sum.each(slot, 0, m.merge)
		sel := n.wire()
		sel.Success, sel.Dropped, sel.Errors = m.success.wire(), m.dropped.wire(), m.errors.wire()
		s.Selected = append(s.Selected, sel)
	}
	for _, name := range slices.Sorted(maps.Keys(t.endpoints)) {
		var m measured
		t.endpoints[name].each(slot, 0, m.merge)
		s.EndpointStats = append(s.EndpointStats, &pb.EndpointStats{
			Name: name, Success: m.success.wire(), Dropped: m.dropped.wire(), Errors: m.errors.wire(),
		})
	}
	for _, p := range t.parts {
		s.Limited += p.limited(slot)
	}
	return s
}

func (m *measured) merge(o *measured) {
	m.success.merge(&o.success)
	m.dropped.merge(&o.dropped)
	m.errors.merge(&o.errors)
}

func (n *node) wire() *pb.Selected {
	return &pb.Selected{Service: &pb.Service{Version: n.version}, Node: &pb.Node{Id: n.id, Weight: n.shown,
		Ejected: !n.ejection.until.IsZero(), Reason: n.ejection.reason}}
}

func (p *part) limited(slot int64) (n int64) {
	p.demand.each(slot, 0, func(d *demand) { n += d.limited })
	return n
}

// of is what one caller reported.
func (t *table) of(p *part, window time.Duration, slot int64) *pb.Stats {
	s := t.blank(window)
	s.Limited = p.limited(slot)
	s.Client = &pb.Service{Name: p.service, Nodes: []*pb.Node{{Id: p.node}}}
	if p.zone != "" {
		s.Client.Nodes[0].Metadata = map[string]string{"zone": p.zone}
	}
	for _, id := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[id]
		pair := n.pairs[p.node]
		if pair == nil {
			continue
		}
		var o outcomes
		pair.calls.each(slot, 0, o.add)
		sel := n.wire()
		sel.Success, sel.Dropped, sel.Errors = o.success.wire(), o.dropped.wire(), o.errors.wire()
		sel.Consecutive = pair.consecutive
		s.Selected = append(s.Selected, sel)
	}
	return s
}
