package srv

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"go-micro.dev/v6/registry"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/regcache"
	pb "github.com/micro/go-platform/router/proto"
)

// never is SelectResponse.expires of answers that are good until replaced.
const never = -1

// view is what all callers are told of a service, without durations that pass.
type view struct {
	of       inputs
	revision uint64
	answer   *pb.SelectResponse
	until    map[string]time.Time // ends of ejections, by node
}

// inputs are what a view is made of: equal ones make equal views.
type inputs struct {
	registry *regcache.Snapshot
	policy   *policy
	stale    bool
	derived  uint64
}

// derive makes all that is derived from reports, registry and store that of
// now, and reports whether it differs from before. The caller holds t.mu.
func (e *engine) derive(t *table, now time.Time) bool {
	known, stale := e.nodes(t.name)
	if known == nil {
		e.want(t.name)
	}
	slot := e.clock.slot(now)
	if t.view == nil || known != t.view.of.registry {
		t.follow(known)
	}
	t.expire(slot, now)
	out := e.readmit(t, now, slot)
	if now.Sub(t.judged) >= judgeInterval {
		t.judged = now
		found := judge(t.sights(slot))
		e.eject(t, found, out, now)
		e.weigh(t, found, now)
	}
	shared := e.share(t, slot)
	return e.look(t, inputs{known, e.policy.Load(), stale, t.derived}) || shared
}

// look makes the view anew and keeps it when it says something else.
func (e *engine) look(t *table, of inputs) bool {
	if t.view != nil && t.view.of == of {
		return false
	}
	p := of.policy
	v := &view{of: of, until: make(map[string]time.Time), answer: &pb.SelectResponse{
		Service: t.name, Epoch: e.epoch, Expires: never, KeepaliveMs: keepalive.Milliseconds(), Stale: of.stale,
		Rules: p.rules[t.name], Labels: p.labels[t.name], RetryRatio: e.retryRatio,
	}}
	if l := p.limits[t.name]; l != nil && l.RetryRatio != nil {
		v.answer.RetryRatio = *l.RetryRatio
	}
	for _, s := range versions(of.registry) {
		v.answer.Services = append(v.answer.Services, t.service(s, v))
	}
	if old := t.view; old != nil && maps.Equal(old.until, v.until) && proto.Equal(old.answer, v.answer) {
		old.of = of
		return false
	}
	v.revision = e.revision.Add(1)
	t.view = v
	return true
}

// service is a version of the registry with what is derived for its nodes.
func (t *table) service(s *registry.Service, v *view) *pb.Service {
	out := &pb.Service{Name: s.Name, Version: s.Version, Metadata: clean.Map(s.Metadata)}
	for _, e := range s.Endpoints {
		if e != nil {
			out.Endpoints = append(out.Endpoints, &pb.Endpoint{Name: e.Name, Metadata: clean.Map(e.Metadata)})
		}
	}
	for _, r := range s.Nodes {
		n := t.nodes[r.Id]
		if n == nil { // more than there is room for
			continue
		}
		host, port := split(r.Address)
		out.Nodes = append(out.Nodes, &pb.Node{
			Id: r.Id, Address: host, Port: port, Metadata: clean.Map(r.Metadata),
			Weight: n.shown, Ejected: !n.ejection.until.IsZero(), Reason: n.ejection.reason,
		})
		if !n.ejection.until.IsZero() {
			v.until[r.Id] = n.ejection.until
		}
	}
	return out
}

func split(address string) (host string, port int64) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return address, 0
	}
	return host, int64(n)
}

// revision is that of the newest change, of a share as well.
func (t *table) revision() uint64 { return max(t.view.revision, t.shared.revision) }

// answerFor is what p is told now. The caller holds t.mu; what is returned
// shares what does not change.
func (t *table) answerFor(p *part, now time.Time) *pb.SelectResponse {
	a := t.view.answer
	rsp := &pb.SelectResponse{
		Service: a.Service, Epoch: a.Epoch, Expires: a.Expires, KeepaliveMs: a.KeepaliveMs, Stale: a.Stale,
		Rules: a.Rules, Labels: a.Labels, RetryRatio: a.RetryRatio, Services: a.Services,
		Revision: t.revision(),
	}
	if p != nil {
		rsp.Share = p.share
	}
	if len(t.view.until) > 0 {
		rsp.Services = t.view.remaining(now)
	}
	return rsp
}

// remaining copies the services and says what is left of ejections.
func (v *view) remaining(now time.Time) []*pb.Service {
	services := make([]*pb.Service, 0, len(v.answer.Services))
	for _, s := range v.answer.Services {
		out := &pb.Service{Name: s.Name, Version: s.Version, Metadata: s.Metadata, Endpoints: s.Endpoints, Nodes: slices.Clone(s.Nodes)}
		for i, n := range out.Nodes {
			if until, ok := v.until[n.Id]; ok {
				out.Nodes[i] = proto.CloneOf(n)
				out.Nodes[i].EjectedMs = max(until.Sub(now).Milliseconds(), 1)
			}
		}
		services = append(services, out)
	}
	return services
}
