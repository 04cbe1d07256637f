package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// callTimeout bounds one call of one discovery-srv.
const callTimeout = 2 * time.Second

// remote is go.micro.srv.discovery, at fixed addresses or wherever the client
// finds it.
type remote struct {
	opts   Options
	reads  *rpc.Addrs  // any of them answers
	writes *rpc.Addrs  // not of a read replica
	place  place       // of the cache's watcher
	asked  atomic.Bool // the cache may hold services
	held   rpc.Held
}

// acquire returns the client, which it makes at the first use.
func (r *remote) acquire() (client.Client, error) {
	r.held.Open(func() (client.Client, func()) {
		c, release := r.reads.Acquire(r.opts.Client, r.opts.TLS)
		for _, w := range slices.Backward(r.opts.Wrappers) {
			c = w(c)
		}
		return c, release
	})
	c, open := r.held.Get()
	if !open {
		return nil, fmt.Errorf("discovery: %w", ErrStopped)
	}
	return c, nil
}

func newRemote(o Options) *remote {
	r := &remote{opts: o, reads: rpc.NewAddrs(o.Addresses...), writes: rpc.NewAddrs(o.Addresses...)}
	r.asked.Store(o.SnapshotFile != "")
	return r
}

// call has f call the servers until one can be reached.
func (r *remote) call(ctx context.Context, servers *rpc.Addrs, doing string, f func(context.Context, pb.RegistryService, ...client.CallOption) error) error {
	c, err := r.acquire()
	if err != nil {
		return err
	}
	service := pb.NewRegistryService(ServiceName, c)
	return servers.Call(ctx, "discovery: "+doing, callTimeout, func(opts ...client.CallOption) error { return f(ctx, service, opts...) })
}

// String names it in what regcache logs.
func (r *remote) String() string { return "platform" }

// GetService asks.
func (r *remote) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	var o registry.GetOptions
	option.Apply(&o, opts)
	r.asked.Store(true)
	var rsp *pb.GetServiceResponse
	err := r.call(orBackground(o.Context), r.reads, "get service "+name, func(ctx context.Context, s pb.RegistryService, opts ...client.CallOption) (err error) {
		rsp, err = s.GetService(ctx, &pb.GetServiceRequest{Service: name}, opts...)
		return err
	})
	if errors.Is(err, rpcerr.ErrNotFound) {
		return nil, registry.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return services(rsp.Services), nil
}

// ListServices asks.
func (r *remote) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	var o registry.ListOptions
	option.Apply(&o, opts)
	var rsp *pb.ListServicesResponse
	err := r.call(orBackground(o.Context), r.reads, "list services", func(ctx context.Context, s pb.RegistryService, opts ...client.CallOption) (err error) {
		rsp, err = s.ListServices(ctx, &pb.ListServicesRequest{}, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return services(rsp.Services), nil
}

func services(found []*pb.Service) []*registry.Service {
	all := make([]*registry.Service, 0, len(found))
	for _, s := range found {
		all = append(all, s.Registry())
	}
	return all
}

// orBackground is for the options of go-micro, whose context may be nil.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// register takes or replaces the lease of one node.
func (r *remote) register(ctx context.Context, s *registry.Service, beat uint64) error {
	req := &pb.RegisterRequest{
		Service: pb.FromService(s), Secret: r.opts.Secret, Beat: beat,
		IntervalMs: r.opts.Interval.Milliseconds(), TtlMs: (TTLIntervals * r.opts.Interval).Milliseconds(),
	}
	return r.call(ctx, r.writes, "register "+s.Nodes[0].Id, func(ctx context.Context, s pb.RegistryService, opts ...client.CallOption) error {
		_, err := s.Register(ctx, req, opts...)
		return err
	})
}

func (r *remote) deregister(ctx context.Context, s *registry.Service, beat uint64) error {
	req := &pb.DeregisterRequest{Service: pb.FromService(s), Secret: r.opts.Secret, Beat: beat}
	return r.call(ctx, r.writes, "deregister "+s.Name, func(ctx context.Context, s pb.RegistryService, opts ...client.CallOption) error {
		_, err := s.Deregister(ctx, req, opts...)
		return err
	})
}

// renew sends the heartbeats of many nodes and returns the places of those that
// the server does not know, and of those it refuses.
func (r *remote) renew(ctx context.Context, leases []*pb.Lease) (rsp *pb.RenewResponse, err error) {
	err = r.call(ctx, r.writes, "renew leases", func(ctx context.Context, s pb.RegistryService, opts ...client.CallOption) (err error) {
		rsp, err = s.Renew(ctx, &pb.RenewRequest{Leases: leases}, opts...)
		return err
	})
	return rsp, err
}

// publish feeds the topic, best effort.
func (r *remote) publish(ctx context.Context, h *pb.Heartbeat) {
	c, err := r.acquire()
	if err != nil || c.Options().Broker == nil {
		return
	}
	msg := c.NewMessage(HeartbeatTopic, h, client.WithMessageContentType("application/protobuf"))
	_ = c.Publish(ctx, msg) // the RPC that failed before is what is logged and tried again
}
