package srv

import (
	"cmp"
	"slices"
	"strings"
	"time"

	pb "github.com/micro/go-platform/discovery/proto"
)

// services returns the versions of a service with their nodes, in order.
func (s *state) services(name string) []*pb.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return grouped(s.byName[name])
}

// grouped joins leases of one service to one record for each version: beside
// its nodes it is what the last registration said.
func grouped(leases map[leaseKey]*lease) []*pb.Service {
	newest := make(map[string]*lease)
	nodes := make(map[string][]*pb.Node)
	for k, l := range leases {
		if old := newest[k.version]; old == nil || l.changed > old.changed {
			newest[k.version] = l
		}
		nodes[k.version] = append(nodes[k.version], l.service.Nodes[0])
	}
	found := make([]*pb.Service, 0, len(newest))
	for version, l := range newest {
		slices.SortFunc(nodes[version], func(a, b *pb.Node) int { return cmp.Compare(a.Id, b.Id) })
		found = append(found, &pb.Service{
			Name: l.service.Name, Version: version, Metadata: l.service.Metadata,
			Endpoints: l.service.Endpoints, Nodes: nodes[version],
		})
	}
	slices.SortFunc(found, func(a, b *pb.Service) int { return cmp.Compare(a.Version, b.Version) })
	return found
}

// names returns every version of every service without endpoints and nodes.
func (s *state) names() []*pb.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*pb.Service
	for name, leases := range s.byName {
		versions := make(map[string]bool)
		for k := range leases {
			if !versions[k.version] {
				versions[k.version] = true
				found = append(found, &pb.Service{Name: name, Version: k.version})
			}
		}
	}
	slices.SortFunc(found, func(a, b *pb.Service) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return found
}

// heartbeats returns the leases as the last heartbeats they are, by node id.
func (s *state) heartbeats(service, node string, after int64) []*pb.Heartbeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var found []*pb.Heartbeat
	for k, l := range s.leases {
		at := now.Add(l.renewed.Sub(now)).Unix()
		if service != "" && k.service != service || node != "" && k.node != node || at <= after {
			continue
		}
		found = append(found, &pb.Heartbeat{
			Id: k.node, Service: l.service, Timestamp: at, Beat: l.beat,
			Interval: seconds(l.interval), Ttl: seconds(l.ttl),
			IntervalMs: l.interval.Milliseconds(), TtlMs: l.ttl.Milliseconds(),
		})
	}
	slices.SortFunc(found, func(a, b *pb.Heartbeat) int {
		return cmp.Or(strings.Compare(a.Service.Name, b.Service.Name), strings.Compare(a.Id, b.Id))
	})
	return found
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// endpoints returns those of a service, of all versions when it is empty, once
// each.
func (s *state) endpoints(service, version string) []*pb.Endpoint {
	seen := make(map[string]bool)
	var found []*pb.Endpoint
	for _, v := range s.services(service) {
		if version != "" && v.Version != version {
			continue
		}
		for _, e := range v.Endpoints {
			if !seen[e.Name] {
				seen[e.Name] = true
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b *pb.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	return found
}

func (s *state) status(to *pb.StatusResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Epoch, to.Revision = s.epoch, s.events.revision
	to.Services, to.Leases = int64(len(s.byName)), int64(len(s.leases))
	to.Preserving, to.Late, to.Expired = s.preserving, int64(s.late), s.expired
}
