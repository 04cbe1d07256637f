package srv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
)

// undertaker takes nodes whose leases ended here out of the other registry,
// where they are registered too, so that all who read that one learn of it. A
// node there carries the commitment of its registrant's key: a lease of somebody
// else's removes nobody.
type undertaker struct {
	*node
	registry registry.Registry
	queue    *batch.Queue[*lease]

	mu     sync.Mutex
	buried map[leaseKey]*lease // until their lease there is over too
}

func (n *node) undertaker(env *daemon.Env) *undertaker {
	u := &undertaker{node: n, registry: env.Registry, buried: make(map[leaseKey]*lease)}
	u.queue = batch.New(batch.Config[*lease]{
		Name: "expired nodes", Size: 10, Interval: 50 * time.Millisecond, Logger: env.Logger,
		Send: func(_ context.Context, dead []*lease) error {
			var errs error
			for _, l := range dead {
				err := remove(u.registry, l)
				switch {
				case forbidden(err):
					errs = errors.Join(errs, fmt.Errorf("%w: %w", batch.ErrNever, err))
				case err != nil:
					return err
				}
			}
			return errs
		},
	})
	return u
}

// forbidden reports whether the registry will not remove a node, whose own lease there
// ends it; those behind it in the queue do not wait for that.
func forbidden(err error) bool {
	var e api.StatusError
	return errors.As(err, &e) && e.Code >= 400 && e.Code < 500 && e.Code != http.StatusTooManyRequests
}

// gone has the node of a lease that ended removed.
func (u *undertaker) gone(l *lease) {
	if l.owner.key == nil {
		return
	}
	u.mu.Lock()
	u.buried[l.key] = l
	u.mu.Unlock()
	_ = u.queue.Add(l) // refused is counted and logged; its own lease there ends too
}

// watch looks for removed nodes that are back without their registrant, and has
// them removed again: an agent of Consul restores what others took out of the
// catalog.
func (u *undertaker) watch(ctx context.Context) {
	lifecycle.Every(ctx, time.Second, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for k, l := range u.buried {
			if u.state.has(k) || time.Since(l.renewed) > 2*l.ttl {
				delete(u.buried, k)
				continue
			}
			s, err := u.outer.Snapshot(k.service)
			if err == nil && slices.ContainsFunc(s.Services, func(v *registry.Service) bool { return v.Version == k.version && l.among(v) >= 0 }) {
				_ = u.queue.Add(l) // as above
			}
		}
	})
}

func (s *state) has(k leaseKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[k] != nil
}

// among returns the index of the lease's node in s, or -1.
func (l *lease) among(s *registry.Service) int {
	return slices.IndexFunc(s.Nodes, func(n *registry.Node) bool {
		return n.Id == l.key.node && n.Metadata[discovery.LeaseKey] == pb.Commitment(l.owner.key)
	})
}

func remove(r registry.Registry, l *lease) error {
	services, err := r.GetService(l.key.service)
	if err != nil {
		return nil //nolint:nilerr // it is not there, or its own lease ends it
	}
	for _, s := range services {
		i := l.among(s)
		if s.Version != l.key.version || i < 0 {
			continue
		}
		s.Nodes = s.Nodes[i : i+1]
		if err := deregister(r, s); err != nil {
			return fmt.Errorf("deregister %s: %w", l.key.node, err)
		}
	}
	return nil
}

// deregister takes a node out of the registry, at Consul out of the agent that
// has it: go-micro's registry asks its own agent, which knows only nodes
// registered there.
func deregister(r registry.Registry, s *registry.Service) error {
	c, ok := r.(interface{ Client() *api.Client })
	if !ok {
		return r.Deregister(s)
	}
	own, err := c.Client().Agent().NodeName()
	if err != nil {
		return err
	}
	all, _, err := c.Client().Catalog().Service(s.Name, "", nil)
	if err != nil {
		return err
	}
	id := s.Nodes[0].Id
	for _, found := range all {
		switch {
		case found.ServiceID != id || found.ServiceMeta[discovery.LeaseKey] != s.Nodes[0].Metadata[discovery.LeaseKey]:
		case found.Node == own:
			err = errors.Join(err, r.Deregister(s))
		default:
			_, failed := c.Client().Catalog().Deregister(&api.CatalogDeregistration{Node: found.Node, ServiceID: id}, nil)
			err = errors.Join(err, failed)
		}
	}
	return err
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
