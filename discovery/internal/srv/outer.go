package srv

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/daemon"
)

// undertaker takes nodes whose leases ended here out of the other registry,
// where they are registered too, so that all who read that one learn of it. A
// node there carries the commitment of its registrant's key: a lease of somebody
// else's removes nobody.
func undertaker(env *daemon.Env) *batch.Queue[*lease] {
	return batch.New(batch.Config[*lease]{
		Name: "expired nodes", Size: 10, Interval: 50 * time.Millisecond, Logger: env.Logger,
		Send: func(_ context.Context, dead []*lease) error {
			for _, l := range dead {
				if err := remove(env.Registry, l); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func remove(r registry.Registry, l *lease) error {
	services, err := r.GetService(l.key.service)
	if err != nil {
		return nil //nolint:nilerr // it is not there, or its own lease ends it
	}
	for _, s := range services {
		i := slices.IndexFunc(s.Nodes, func(n *registry.Node) bool {
			return n.Id == l.key.node && n.Metadata[discovery.LeaseKey] == pb.Commitment(l.owner.key)
		})
		if s.Version != l.key.version || i < 0 {
			continue
		}
		s.Nodes = s.Nodes[i : i+1]
		if err := r.Deregister(s); err != nil {
			return fmt.Errorf("deregister %s: %w", l.key.node, err)
		}
	}
	return nil
}

// withOuter adds what only the other registry knows.
func (n *node) withOuter(name string, found []*pb.Service) []*pb.Service {
	if n.outer == nil {
		return found
	}
	services, err := n.outer.GetService(name)
	if err != nil {
		return found // the leases are what there is
	}
	for _, s := range services {
		w := pb.FromService(s)
		i := slices.IndexFunc(found, func(f *pb.Service) bool { return f.Version == s.Version })
		if i < 0 {
			found = append(found, w)
			continue
		}
		for _, node := range w.Nodes {
			if !slices.ContainsFunc(found[i].Nodes, func(f *pb.Node) bool { return f.Id == node.Id }) {
				found[i].Nodes = append(found[i].Nodes, node)
			}
		}
	}
	return found
}

// allNames adds the names that only the other registry knows.
func (n *node) allNames(found []*pb.Service) []*pb.Service {
	if n.outer == nil {
		return found
	}
	services, err := n.outer.ListServices()
	if err != nil {
		return found
	}
	known := make(map[string]bool, len(found))
	for _, s := range found {
		known[s.Name] = true
	}
	for _, s := range services {
		if !known[s.Name] {
			found = append(found, &pb.Service{Name: s.Name, Version: s.Version})
		}
	}
	return found
}
