package discovery

import (
	"context"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
)

// ClientWrapper keeps new calls and streams away from nodes that are draining,
// whatever the client's selector remembers: go-micro's caches for a minute and
// knows no draining. It reads snapshots and never waits for a service that is
// known. When d does not know the service, nothing is taken away.
func ClientWrapper(d Discovery) client.Wrapper {
	return func(c client.Client) client.Client { return &openClient{c, d} }
}

type openClient struct {
	client.Client
	discovery Discovery
}

func (c *openClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(ctx, req, rsp, c.with(req, opts)...)
}

func (c *openClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return c.Client.Stream(ctx, req, c.with(req, opts)...)
}

// with adds the filter if any node of the service is draining.
func (c *openClient) with(req client.Request, opts []client.CallOption) []client.CallOption {
	s, err := c.discovery.Snapshot(req.Service())
	if err != nil || !s.Draining() {
		return opts
	}
	return append(opts[:len(opts):len(opts)], client.WithSelectOption(selector.WithFilter(closed(s))))
}

// closed removes the nodes that s knows to be draining.
func closed(s *Snapshot) selector.Filter {
	shut := make(map[string]bool)
	for _, v := range s.Services {
		if _, draining := split(v); draining != nil {
			for _, n := range draining.Nodes {
				shut[n.Id] = true
			}
		}
	}
	return func(old []*registry.Service) []*registry.Service {
		kept := make([]*registry.Service, 0, len(old))
		for _, v := range old {
			open := *v
			open.Nodes = nil
			for _, n := range v.Nodes {
				if !shut[n.Id] {
					open.Nodes = append(open.Nodes, n)
				}
			}
			if len(open.Nodes) > 0 {
				kept = append(kept, &open)
			}
		}
		return kept
	}
}
