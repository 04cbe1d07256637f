package monitor

import (
	"context"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/option"
)

// DefaultPanicThreshold is the percentage of a service's nodes that must be
// left for ReadyFilter to remove any.
const DefaultPanicThreshold = 50

// FilterOption changes a ReadyFilter.
type FilterOption func(*filter)

// PanicThreshold is the percentage of a service's nodes below which the filter
// keeps all of them: when most look bad the reports are as likely wrong as the
// nodes, and the rest would be overrun. Default 50, from 1 to 100; others count
// as the nearest of these.
func PanicThreshold(percent int) FilterOption {
	return func(f *filter) { f.threshold = min(max(percent, 1), 100) }
}

type filter struct {
	monitor   Monitor
	threshold int
}

// ReadyFilter removes nodes that are known to be not ready from the choice of a
// call: give it to client.WithSelectOption, or use ReadyWrapper. It reads a
// snapshot and never waits. It removes nothing while fewer nodes would be left
// than PanicThreshold says, nor what it has not heard of for 15 s (see
// Monitor.NotReady): a dead go.micro.srv.monitor takes no routes away.
func ReadyFilter(m Monitor, opts ...FilterOption) selector.SelectOption {
	f := &filter{monitor: m, threshold: DefaultPanicThreshold}
	option.Apply(f, opts)
	m.NotReady("") // begins to watch
	return selector.WithFilter(f.apply)
}

// ReadyWrapper gives every Call and Stream of a client the ReadyFilter.
func ReadyWrapper(m Monitor, opts ...FilterOption) client.Wrapper {
	option := client.WithSelectOption(ReadyFilter(m, opts...))
	return func(c client.Client) client.Client { return &readyClient{c, option} }
}

type readyClient struct {
	client.Client
	option client.CallOption
}

func (c *readyClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(ctx, req, rsp, c.with(opts)...)
}

func (c *readyClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return c.Client.Stream(ctx, req, c.with(opts)...)
}

func (c *readyClient) with(opts []client.CallOption) []client.CallOption {
	return append(opts[:len(opts):len(opts)], c.option)
}

// apply is the selector.Filter. It does not change what it was given.
func (f *filter) apply(services []*registry.Service) []*registry.Service {
	total, bad := 0, 0
	for _, s := range services {
		total += len(s.Nodes)
		for _, n := range s.Nodes {
			if f.monitor.NotReady(n.Id) {
				bad++
			}
		}
	}
	if bad == 0 || (total-bad)*100 < f.threshold*total {
		return services
	}
	kept := make([]*registry.Service, 0, len(services))
	for _, s := range services {
		if s = f.ready(s); len(s.Nodes) > 0 {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 { // the snapshot changed meanwhile
		return services
	}
	return kept
}

func (f *filter) ready(s *registry.Service) *registry.Service {
	kept := *s
	kept.Nodes = make([]*registry.Node, 0, len(s.Nodes))
	for _, n := range s.Nodes {
		if !f.monitor.NotReady(n.Id) {
			kept.Nodes = append(kept.Nodes, n)
		}
	}
	return &kept
}
