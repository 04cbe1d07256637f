package regcache

import (
	"fmt"
	"slices"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/clean"
)

// guarded calls a registry under recover: it is a user's or go-micro's code in our
// goroutines. What it returns is taken without nil pointers, which strangers may have
// written: a record at etcd is JSON.
type guarded struct{ Source }

func caught(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("registry: %s panics: %s", what, clean.Value(p, 1<<10))
	}
}

// GetService implements Source.
func (g guarded) GetService(name string, opts ...registry.GetOption) (s []*registry.Service, err error) {
	defer caught("GetService", &err)
	s, err = g.Source.GetService(name, opts...)
	return whole(s), err
}

// ListServices implements Source.
func (g guarded) ListServices(opts ...registry.ListOption) (s []*registry.Service, err error) {
	defer caught("ListServices", &err)
	s, err = g.Source.ListServices(opts...)
	return whole(s), err
}

// Watch implements Source.
func (g guarded) Watch(opts ...registry.WatchOption) (w registry.Watcher, err error) {
	defer caught("Watch", &err)
	w, err = g.Source.Watch(opts...)
	if err == nil && w == nil {
		return nil, fmt.Errorf("registry: Watch returns nothing")
	}
	return guardedWatcher{w}, err
}

type guardedWatcher struct{ registry.Watcher }

// Next implements registry.Watcher.
func (g guardedWatcher) Next() (r *registry.Result, err error) {
	defer caught("Next of a watcher", &err)
	r, err = g.Watcher.Next()
	if r == nil || r.Service == nil {
		return nil, err
	}
	all := whole([]*registry.Service{r.Service})
	return &registry.Result{Action: r.Action, Service: all[0]}, err
}

// Stop implements registry.Watcher.
func (g guardedWatcher) Stop() {
	var err error
	defer caught("Stop of a watcher", &err) // it has stopped as well as it can
	g.Watcher.Stop()
}

// whole returns services without those that are nil, and their nodes without those
// that are nil or have no id. It changes nothing in place.
func whole(services []*registry.Service) []*registry.Service {
	bad := func(n *registry.Node) bool { return n == nil || n.Id == "" }
	if !slices.ContainsFunc(services, func(s *registry.Service) bool { return s == nil || slices.ContainsFunc(s.Nodes, bad) }) {
		return services
	}
	out := make([]*registry.Service, 0, len(services))
	for _, s := range services {
		if s == nil {
			continue
		}
		copied := *s
		copied.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), bad)
		out = append(out, &copied)
	}
	return out
}
