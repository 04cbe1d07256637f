package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/kv/proto"
)

// serve registers the handler with the user's server if that speaks grpc, else
// with one beside it, behind the same handler wrappers.
func (p *platform) serve(s server.Server) error {
	if s.String() == "grpc" {
		return pb.RegisterKVHandler(s, &handler{p})
	}
	o := s.Options()
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		host = o.Address
	}
	opts := []server.Option{
		server.Name(p.name), server.Id(o.Id), server.Version(o.Version), server.Address(net.JoinHostPort(host, "0")),
		server.Registry(o.Registry), server.Broker(membroker.Shared(o.Broker)), server.WithLogger(o.Logger),
		server.RegisterTTL(o.RegisterTTL), server.RegisterInterval(o.RegisterInterval),
		mgrpc.MaxMsgSize(rpc.MaxMessage),
	}
	for _, w := range o.HdlrWrappers {
		opts = append(opts, server.WrapHandler(w))
	}
	if p.options.TLS != nil {
		opts = append(opts, mgrpc.AuthTLS(p.options.TLS))
	}
	p.own = mgrpc.NewServer(opts...)
	if err := pb.RegisterKVHandler(p.own, &handler{p}); err != nil {
		return err
	}
	return p.own.Start()
}

// listen looks into the registry when somebody announces itself. Announcements
// prove nothing: they only save waiting. It is tried again while the broker cannot
// be reached.
func (p *platform) listen() {
	if p.broker == nil || p.announced != nil {
		return
	}
	err := p.broker.Connect()
	if err == nil {
		p.announced, err = p.broker.Subscribe(GossipTopic, func(e broker.Event) error {
			var said pb.ProbeRequest
			if proto.Unmarshal(e.Message().Body, &said) == nil && said.Namespace == p.options.Namespace && p.members.unknown(said.Self) {
				poke(p.discover)
			}
			return nil
		})
	}
	if deaf := err != nil; deaf != p.deaf {
		p.deaf = deaf
		p.options.Logger.Info("kv announcements; without them members are found in the registry alone", "heard", !deaf, "error", err)
	}
}

// announce is best effort, see listen.
func (p *platform) announce() {
	if p.announced == nil {
		return
	}
	self, _ := p.members.message(nil)
	body, err := proto.Marshal(&pb.ProbeRequest{Namespace: p.options.Namespace, Self: self})
	if err == nil {
		_ = p.broker.Publish(GossipTopic, &broker.Message{Body: body}) // the registry tells, too
	}
}

// handler serves other members, and callers of the contract's three methods.
type handler struct{ *platform }

func (h *handler) allowed(namespace string) error {
	switch {
	case namespace != "" && namespace != h.options.Namespace:
		return fmt.Errorf("kv: %w: namespace %q", rpcerr.ErrForbidden, namespace)
	case h.view.Load() == nil:
		return fmt.Errorf("kv: %w: no member", ErrUnavailable)
	}
	return nil
}

// call runs f if it may and gives errors their codes. ErrStale is a conflict to
// clients that do not know it.
func (h *handler) call(namespace string, f func() error) error {
	err := h.allowed(namespace)
	if err == nil {
		err = f()
	}
	return rpcerr.To(h.name, err)
}

func keyOf(key string, raw []byte) string {
	if len(raw) > 0 {
		return string(raw)
	}
	return key
}

// Get implements the KV service.
func (h *handler) Get(ctx context.Context, req *pb.GetRequest, rsp *pb.GetResponse) error {
	return h.call(req.Namespace, func() error {
		key := keyOf(req.Key, req.RawKey)
		item, err := h.platform.Get(key, WithContext(ctx))
		if err != nil {
			return err
		}
		ms := Milliseconds(item.Expiration)
		rsp.Item = &pb.Item{Key: req.Key, RawKey: req.RawKey, Value: item.Value, TtlMs: ms, Expiration: (ms + 999) / 1000}
		return nil
	})
}

// Put implements the KV service.
func (h *handler) Put(ctx context.Context, req *pb.PutRequest, _ *pb.PutResponse) error {
	return h.call(req.Namespace, func() error {
		item, err := fromWire(req.Item)
		if err != nil {
			return err
		}
		return h.platform.Put(item, WithContext(ctx), Fence(req.Token))
	})
}

// Del implements the KV service.
func (h *handler) Del(ctx context.Context, req *pb.DelRequest, _ *pb.DelResponse) error {
	return h.call(req.Namespace, func() error {
		return h.platform.Del(keyOf(req.Key, req.RawKey), WithContext(ctx), Fence(req.Token))
	})
}

// Probe implements the KV service.
func (h *handler) Probe(_ context.Context, req *pb.ProbeRequest, rsp *pb.ProbeResponse) error {
	return h.call(req.Namespace, func() error {
		o := h.options
		rsp.Self, rsp.Members = h.members.message(req)
		rsp.SuspicionMs, rsp.Replicas, rsp.Read, rsp.Write = o.Suspicion.Milliseconds(), int32(o.Replicas), int32(o.Read), int32(o.Write)
		if rsp.Self.Joining || h.members.unknown(req.Self) {
			poke(h.discover)
		} else if h.members.news(req.Self) {
			poke(h.probeNow)
		}
		return nil
	})
}

// Exchange implements the KV service.
func (h *handler) Exchange(_ context.Context, req *pb.ExchangeRequest, rsp *pb.ExchangeResponse) error {
	return h.call(req.Namespace, func() error {
		if req.Namespace == "" {
			return fmt.Errorf("kv: %w: no namespace", ErrInvalid)
		}
		for _, op := range req.Ops {
			if err := checkOp(op); err != nil {
				return err
			}
		}
		if len(req.Ops) == 0 { // of who opens a link
			return nil
		}
		results, err := h.apply(req.View, req.Ops)
		rsp.Results, rsp.OtherView = results, err == errOtherView //nolint:errorlint // it is this one or none
		if rsp.OtherView {
			poke(h.probeNow)
			return nil
		}
		return err
	})
}

// Link implements the KV service.
func (h *handler) Link(ctx context.Context, stream pb.KV_LinkStream) error {
	over := make(chan error, 1)
	if !h.spawn(func() { over <- h.converse(ctx, stream) }) {
		return rpcerr.To(h.name, ErrUnavailable)
	}
	timer := time.NewTimer(2 * h.linkAge)
	defer timer.Stop()
	select {
	case err := <-over:
		return err
	case <-timer.C:
	case <-h.unlink:
	}
	return nil // which ends converse, too
}

func (h *handler) converse(ctx context.Context, stream pb.KV_LinkStream) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		rsp := &pb.ExchangeResponse{}
		if err := h.Exchange(ctx, req, rsp); err != nil {
			e := call.Parse(err)
			rsp = &pb.ExchangeResponse{Code: e.Code, Error: e.Detail}
		}
		rsp.Id = req.Id
		if err := stream.Send(rsp); err != nil {
			return err
		}
	}
}
