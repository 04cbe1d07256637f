package router

import (
	"context"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	"golang.org/x/time/rate"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/header"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/router/internal/balance"
)

// CallWrapper records every try of a call: its node, duration and outcome. It
// is for clients that have no ClientWrapper of the router, which records by
// itself; with both, calls are recorded once.
func CallWrapper(r Router) client.CallWrapper {
	p, ours := r.(*platform)
	if ours {
		p.measured.Store(true)
	}
	return func(next client.CallFunc) client.CallFunc {
		return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
			if ours && opts.Context != nil && opts.Context.Value(routerKey{}) == r {
				return next(ctx, node, req, rsp, opts)
			}
			if ours {
				return p.try(ctx, node, req, rsp, opts, next)
			}
			begun := time.Now()
			err := next(ctx, node, req, rsp, opts)
			r.Record(req, node, time.Since(begun), err)
			return err
		}
	}
}

// try makes and records one try.
func (p *platform) try(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions, next client.CallFunc) error {
	if p.witnessed.Load() {
		ctx = &rpc.Witness{Context: ctx}
	}
	begun := p.now()
	err := next(ctx, node, req, rsp, opts)
	now := p.now()
	d := time.Duration(now - begun)
	s, m := p.member(req.Service(), node)
	if s == nil {
		return err
	}
	s.measure(req.Method(), m, d, err)
	if m == nil {
		return err
	}
	o := balance.OK
	if err != nil {
		if o = p.outcome(ctx, node, err); o == balance.Unreached {
			p.unsent.put(err)
		}
	}
	s.pool.Done(m, o, d, now)
	return err
}

func (p *platform) record(next client.CallFunc) client.CallFunc {
	return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
		return p.try(ctx, node, req, rsp, opts, next)
	}
}

// callOption puts a call into the router's hands: its retries in place of
// go-micro's, and its recording. Options of the call come after it and win.
func (p *platform) callOption(o *client.CallOptions) {
	if !p.Running() {
		return // Select will tell why
	}
	o.Retries, o.Retry, o.Backoff = p.set.Retries, p.retries.usual, retryAfter
	if len(o.CallWrappers) == 0 {
		o.CallWrappers = p.recorders
	} else {
		o.CallWrappers = append(o.CallWrappers[:len(o.CallWrappers):len(o.CallWrappers)], p.record)
	}
	if o.Context == nil {
		o.Context = p.marked
	} else {
		o.Context = context.WithValue(o.Context, routerKey{}, p)
	}
}

// ClientWrapper puts the calls and streams of a client into the router's hands:
// it limits them, takes their labels and sticky key, records every try, and
// tries again what may be, within the retry budget and in place of go-micro's
// own retries, whatever client.Retries and client.Retry say. A grpc client connects
// within its DialTimeout, or 1.5 s where that is go-micro's default, and a call whose
// connection never stood goes to another node. Call options still
// win: client.WithRetries bounds the tries of one call. The client's selector
// must be the router. Publish passes through: a message has no node. Where rules
// ask for labels a call with more than 16 of them, or one of more than 128 bytes,
// fails with code 400: without it the call could go where it must not.
//
// For a Router of another package it only records the tries.
func ClientWrapper(r Router) client.Wrapper {
	p, ours := r.(*platform)
	if !ours {
		option := client.WithCallWrapper(CallWrapper(r))
		return func(c client.Client) client.Client { return &recordingClient{c, option} }
	}
	p.measured.Store(true)
	return func(c client.Client) client.Client {
		rpc.BoundConnects(c)
		if c.String() == "grpc" {
			p.witnessed.Store(true)
		}
		return &clientWrapper{c, p}
	}
}

type recordingClient struct {
	client.Client
	option client.CallOption
}

func (c *recordingClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(ctx, req, rsp, append(opts[:len(opts):len(opts)], c.option)...)
}

type clientWrapper struct {
	client.Client
	p *platform
}

// Call implements client.Client.
func (w *clientWrapper) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	s, err := w.p.service(req.Service())
	if err != nil { // WithAddress needs no registry, and go-micro words the rest
		return w.Client.Call(ctx, req, rsp, w.prepend(opts)...)
	}
	s.budget.deposit()
	opts, err = w.options(ctx, s, nil, opts)
	if err != nil {
		return rpcerr.To(req.Service(), err)
	}
	if !s.limits.any.Load() {
		return w.Client.Call(ctx, req, rsp, opts...)
	}
	got, ok := s.limits.admit(w.p.now())
	if !ok {
		return limited(req.Service())
	}
	telling := false
	defer func() { got.release(w.p.now(), telling) }()
	err = w.Client.Call(ctx, req, rsp, opts...)
	telling = err == nil || call.Of(err) == call.Dropped
	return err
}

// limited is the error of a call that a limit refused.
func limited(service string) error { return rpcerr.To(service, ErrLimited) }

// Limited reports whether err says that a limit refused the call, here or at the
// server: 429.
func Limited(err error) bool { return call.Code(err) == 429 }

// options adds what go-micro's client has to know of the call.
func (w *clientWrapper) options(ctx context.Context, s *service, last *lastNode, opts []client.CallOption) (_ []client.CallOption, err error) {
	var c *balance.Call
	if s.pool.Divided() {
		if c, err = w.p.call(ctx, s); err != nil {
			return nil, err
		}
	}
	all := w.prepend(opts)
	if c == nil && last == nil {
		return all, nil
	}
	carry := &callContext{context.Background(), c, last}
	return append(all[:len(all):len(all)], client.WithSelectOption(func(o *selector.SelectOptions) {
		if o.Context != nil {
			carry.Context = o.Context
		}
		o.Context = carry
	})), nil
}

// prepend puts the router's option before those of the call.
func (w *clientWrapper) prepend(opts []client.CallOption) []client.CallOption {
	if len(opts) == 0 {
		return w.p.options
	}
	all := make([]client.CallOption, 0, len(opts)+2)
	return append(append(all, w.p.option), opts...)
}

// call returns what of ctx decides where a call goes, nil when nothing does.
func (p *platform) call(ctx context.Context, s *service) (_ *balance.Call, err error) {
	key, sticky := ctx.Value(stickyKey{}).(string)
	var c balance.Call
	if keyed := s.pool.Keyed(); keyed || !sticky && p.set.StickyBy != "" {
		md, _ := metadata.FromContext(ctx)
		if keyed {
			if c.Labels, err = labelsIn(md, p.set.AcceptLabels); err != nil {
				return nil, err
			}
		}
		if !sticky && p.set.StickyBy != "" {
			key, sticky = header.Get(md, p.set.StickyBy)
		}
	}
	if sticky && key != "" {
		c.Sticky, c.Point = true, balance.Point(s.name, key)
	}
	if !c.Sticky && len(c.Labels) == 0 {
		return nil, nil
	}
	return &c, nil
}

// Stream implements client.Client. A stream that could not be opened is tried
// on another node, as a call would be; go-micro would not do so on grpc.
func (w *clientWrapper) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	s, err := w.p.service(req.Service())
	if err != nil {
		return w.Client.Stream(ctx, req, w.prepend(opts)...)
	}
	s.budget.deposit()
	if !s.limits.rates() {
		return nil, limited(req.Service())
	}
	for tries := 0; ; tries++ {
		last := &lastNode{}
		begun := w.p.now()
		all, err := w.options(ctx, s, last, opts)
		if err != nil {
			return nil, rpcerr.To(req.Service(), err)
		}
		watched := &rpc.Witness{Context: ctx}
		stream, err := w.Client.Stream(watched, req, append(all, client.WithRetries(0))...)
		m := last.member
		if err != nil {
			unsent := false
			if m != nil {
				s.measure(req.Method(), m, time.Duration(w.p.now()-begun), err)
				unsent = w.p.outcome(watched, m.Node, err) == balance.Unreached
			}
			if tries < w.p.set.Retries && w.p.again(ctx, req, err, unsent, false) {
				continue
			}
			return nil, err
		}
		if m == nil {
			return stream, nil
		}
		s.pool.Stream(m, 1)
		return call.WatchStream(stream, func(err error) {
			s.pool.Stream(m, -1)
			s.measure(req.Method(), m, time.Duration(w.p.now()-begun), err)
			if err != nil {
				s.pool.Tell(m, w.p.outcome(ctx, m.Node, err), 0, 0)
			}
		}), nil
	}
}

// HandlerWrapper limits what the server of the router takes in: ServerRate
// counts calls and streams, ServerConcurrency calls. What is too much is refused
// with 429 before the handler sees it.
func HandlerWrapper(r Router) server.HandlerWrapper {
	g := &gate{}
	if p, ours := r.(*platform); ours {
		o := p.Options()
		s := newOptions(&o)
		if s.ServerRate.valid() {
			g.rate = rate.NewLimiter(rate.Limit(s.ServerRate.PerSecond), s.ServerRate.Burst)
		}
		if s.ServerConcurrency > 0 {
			g.latency = newAdaptive(s.ServerConcurrency)
		}
		g.name = s.Server.Options().Name
	}
	return func(next server.HandlerFunc) server.HandlerFunc {
		if g.rate == nil && g.latency == nil {
			return next
		}
		return func(ctx context.Context, req server.Request, rsp any) error { return g.handle(ctx, req, rsp, next) }
	}
}

// gate is the limits of one server.
type gate struct {
	name    string
	rate    *rate.Limiter
	latency adaptive
}

func (g *gate) handle(ctx context.Context, req server.Request, rsp any, next server.HandlerFunc) error {
	if g.rate != nil && !g.rate.Allow() {
		return limited(g.name)
	}
	if g.latency == nil || req.Stream() {
		return next(ctx, req, rsp)
	}
	permit, ok := g.latency.TryAcquirePermit()
	if !ok {
		return limited(g.name)
	}
	err := errPanic
	defer func() {
		// An error says little of how long work takes.
		finish(permit, err == nil || call.Of(err) == call.Dropped)
	}()
	err = next(ctx, req, rsp)
	return err
}
