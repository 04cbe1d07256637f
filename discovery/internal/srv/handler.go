package srv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

// registryHandler is the Registry of go.micro.srv.discovery.
type registryHandler struct {
	*node
	watchers *daemon.Streams
}

// maxRenewals bounds one RenewRequest.
const maxRenewals = 5_000

func refuse(err error) error { return rpcerr.To(discovery.ServiceName, err) }

var errReadOnly = fmt.Errorf("this is a read replica: %w", rpcerr.ErrUnavailable)

// peerAddr returns where the caller is.
func peerAddr(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// registrant returns the owner for which a call registers.
func registrant(ctx context.Context, secret string) (owner, error) {
	if len(secret) > maxSecret {
		return owner{}, rpcerr.Invalid("secret", "%d bytes, more than %d", len(secret), maxSecret)
	}
	o := owner{host: peerAddr(ctx).String()}
	if t, ok := auth.TokenFromContext(ctx); ok {
		o.account = t.Account()
	}
	if secret != "" {
		o.key = pb.Key(secret)
	}
	return o, nil
}

// Register implements pb.RegistryHandler.
func (h *registryHandler) Register(ctx context.Context, req *pb.RegisterRequest, rsp *pb.RegisterResponse) error {
	if !h.writes() {
		return refuse(errReadOnly)
	}
	if err := checkService(req.Service, peerAddr(ctx)); err != nil {
		return refuse(err)
	}
	// Whoever registers a name is sent what is meant for the service of that
	// name.
	if err := h.holds(ctx, req.Service.Name); err != nil {
		return refuse(err)
	}
	interval, ttl, err := checkTimes(req.IntervalMs, req.TtlMs)
	if err != nil {
		return refuse(err)
	}
	by, err := registrant(ctx, req.Secret)
	if err != nil {
		return refuse(err)
	}
	rsp.Revision, err = h.state.register(registration{
		service: req.Service, owner: by, interval: interval, ttl: ttl, beat: req.Beat,
	}, time.Now())
	return refuse(err)
}

// Deregister implements pb.RegistryHandler.
func (h *registryHandler) Deregister(ctx context.Context, req *pb.DeregisterRequest, _ *pb.DeregisterResponse) error {
	if !h.writes() {
		return refuse(errReadOnly)
	}
	if req.Service == nil || len(req.Service.Nodes) > maxNodes {
		return refuse(rpcerr.Invalid("service", "missing, or more than %d nodes", maxNodes))
	}
	by, err := registrant(ctx, req.Secret)
	if err != nil {
		return refuse(err)
	}
	return refuse(h.state.deregister(req.Service, by, req.Beat, time.Now()))
}

// Renew implements pb.RegistryHandler.
func (h *registryHandler) Renew(ctx context.Context, req *pb.RenewRequest, rsp *pb.RenewResponse) error {
	if !h.writes() {
		return refuse(errReadOnly)
	}
	if len(req.Leases) > maxRenewals {
		return refuse(rpcerr.Invalid("leases", "%d, more than %d", len(req.Leases), maxRenewals))
	}
	now := time.Now()
	for i, l := range req.Leases {
		by, err := registrant(ctx, l.GetSecret())
		if err != nil {
			return refuse(err)
		}
		// Its rule may be gone since it registered.
		if errors.Is(h.holds(ctx, l.GetService()), rpcerr.ErrForbidden) {
			rsp.Refused = append(rsp.Refused, uint32(i))
			continue
		}
		switch h.state.renew(leaseKey{l.GetService(), l.GetVersion(), l.GetNode()}, by, l.GetBeat(), now) {
		case unknown:
			rsp.Unknown = append(rsp.Unknown, uint32(i))
		case refused:
			rsp.Refused = append(rsp.Refused, uint32(i))
		}
	}
	return nil
}

// GetService implements pb.RegistryHandler.
func (h *registryHandler) GetService(_ context.Context, req *pb.GetServiceRequest, rsp *pb.GetServiceResponse) error {
	rsp.Services = h.withOuter(req.Service, h.state.services(req.Service))
	if len(rsp.Services) == 0 {
		return refuse(fmt.Errorf("service %.256q: %w", req.Service, rpcerr.ErrNotFound))
	}
	return nil
}

// ListServices implements pb.RegistryHandler.
func (h *registryHandler) ListServices(_ context.Context, _ *pb.ListServicesRequest, rsp *pb.ListServicesResponse) error {
	rsp.Services = h.allNames(h.state.names())
	return nil
}

// discoveryHandler is the Discovery of go.micro.srv.discovery.
type discoveryHandler struct {
	*node
	watchers *daemon.Streams
}

// Heartbeats implements pb.DiscoveryHandler.
func (h *discoveryHandler) Heartbeats(_ context.Context, req *pb.HeartbeatsRequest, rsp *pb.HeartbeatsResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	rsp.Heartbeats = page.Cut(h.state.heartbeats(req.Service, req.Id, req.After), req.Limit, req.Offset)
	return nil
}

// Endpoints implements pb.DiscoveryHandler.
func (h *discoveryHandler) Endpoints(_ context.Context, req *pb.EndpointsRequest, rsp *pb.EndpointsResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	rsp.Endpoints = page.Cut(h.state.endpoints(req.Service, req.Version), req.Limit, req.Offset)
	return nil
}

// Status implements pb.DiscoveryHandler.
func (h *discoveryHandler) Status(_ context.Context, _ *pb.StatusRequest, rsp *pb.StatusResponse) error {
	h.state.status(rsp)
	rsp.Role, rsp.Watchers = h.role, h.watchers.Len()
	for _, p := range h.peers {
		rsp.Peers = append(rsp.Peers, &pb.Peer{Address: p.address, Connected: p.connected.Load()})
	}
	return nil
}
