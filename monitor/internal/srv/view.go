package srv

import (
	"cmp"
	"maps"
	"slices"

	pb "github.com/micro/go-platform/monitor/proto"
)

// sortedChecks returns the node's checks by id. Those of a node that is silent
// are UNKNOWN: nobody looks any more.
func (n *node) sortedChecks() []*pb.HealthCheck {
	all := make([]*pb.HealthCheck, 0, len(n.checks))
	for _, id := range slices.Sorted(maps.Keys(n.checks)) {
		c := n.checks[id]
		if n.status == pb.Status_UNKNOWN {
			c = &pb.HealthCheck{
				Id: c.Id, Description: c.Description, Timestamp: c.Timestamp, Interval: c.Interval,
				Ttl: c.Ttl, Service: c.Service, Kind: c.Kind, Critical: c.Critical,
			}
		}
		all = append(all, c)
	}
	return all
}

// wireStatus returns the status as the monitor sees it.
func (n *node) wireStatus() *pb.Status {
	return &pb.Status{
		Service: n.service, Status: n.status, NotReady: n.notReady, Seq: n.statusSeq,
		Info: n.current.GetInfo(), Details: n.current.GetDetails(), Timestamp: n.current.GetTimestamp(),
		Interval: n.current.GetInterval(), Ttl: n.current.GetTtl(),
	}
}

// services merges the nodes, which are ordered by id, to services ordered by
// name and version.
func services(nodes []node) []*pb.Service {
	type key struct{ name, version string }
	found := make(map[key]*pb.Service)
	for _, n := range nodes {
		k := key{n.service.Name, n.service.Version}
		s := found[k]
		if s == nil {
			s = &pb.Service{Name: k.name, Version: k.version, Metadata: n.service.Metadata}
			found[k] = s
		}
		s.Nodes = append(s.Nodes, n.service.Nodes...)
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *pb.Service) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
}
