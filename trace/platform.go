package trace

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/spanctx"
	pb "github.com/micro/go-platform/trace/proto"
	"go-micro.dev/v6/client"
	"google.golang.org/protobuf/proto"
)

// platform sends spans to trace-srv by RPC, which is acknowledged. While it
// cannot be reached the spans wait, and copies of them go to the topic for
// whoever listens there; trace-srv knows a span that it got twice.
type platform struct {
	*Plugin
	out *rpcExporter
}

// NewTrace returns the default plugin, which sends spans to trace-srv.
func NewTrace(opts ...Option) Trace {
	o := NewOptions(opts...)
	out := &rpcExporter{options: o, addrs: rpc.NewAddrs(o.Collectors...)}
	out.copies = batch.New(batch.Config[*Span]{
		Name:     "copies of spans for the topic",
		Size:     o.BatchSize,
		Interval: min(o.BatchInterval, time.Second),
		Capacity: 1000,
		Timeout:  o.CollectTimeout,
		Logger:   o.Logger,
		Send:     out.publish,
	})
	p := &platform{NewPlugin("platform", out, o), out}
	p.collected = out.copyToTopic
	return p
}

// Stop stops both queues at once, so that one bound holds for both.
func (p *platform) Stop() error {
	var copies sync.WaitGroup
	copies.Go(func() {
		_ = p.out.copies.Stop() // a lost copy does not count: the other queue counts its span
	})
	err := p.Plugin.Stop()
	copies.Wait()
	return err
}

// rpcExporter is the Exporter of the default plugin.
type rpcExporter struct {
	options Options
	addrs   *rpc.Addrs
	client  client.Client
	service pb.TraceService
	release func()

	unreachable atomic.Bool
	copies      *batch.Queue[*Span]
	published   *Span // the first of the batch that was published last
}

func (e *rpcExporter) Start() error {
	e.client, e.release = rpc.Acquire(e.options.Client, e.options.TLS)
	e.service = pb.NewTraceService(ServiceName, e.client)
	return e.copies.Start()
}

func (e *rpcExporter) Stop() error {
	e.release()
	return nil
}

// untraced returns a context in which a client that is wrapped for tracing
// records nothing: else sending spans would make spans.
func untraced(ctx context.Context) context.Context {
	return spanctx.With(ctx, &Span{decision: unsampled})
}

// Export implements Exporter.
func (e *rpcExporter) Export(ctx context.Context, spans []*Span) error {
	err := e.create(untraced(ctx), spans)
	unreachable := errors.Is(err, rpcerr.ErrUnavailable)
	e.unreachable.Store(unreachable)
	if unreachable && e.published != spans[0] {
		e.published = spans[0]
		_ = e.publish(ctx, spans) // the error of the RPC counts
	}
	return err
}

// Bounds of what is sent at once and taken by trace-srv, in bytes.
const (
	MaxSpanSize    = 256 << 10
	maxRequestSize = 4 << 20
)

// create sends the spans in as few requests as their sizes allow. Should one
// fail, trace-srv knows those before it when they come again.
func (e *rpcExporter) create(ctx context.Context, spans []*Span) error {
	var rejected RejectedError
	req, size := &pb.CreateRequest{}, 0
	for _, s := range spans {
		m := message(s)
		n := proto.Size(m)
		if n > MaxSpanSize {
			rejected.add(1, "a span is larger than 256 KiB")
			continue
		}
		if size += n; size > maxRequestSize {
			if err := e.call(ctx, req, &rejected); err != nil {
				return err
			}
			req, size = &pb.CreateRequest{}, n
		}
		req.Spans = append(req.Spans, m)
	}
	if err := e.call(ctx, req, &rejected); err != nil {
		return err
	}
	if rejected.Count > 0 {
		return &rejected
	}
	return nil
}

func (e *rpcExporter) call(ctx context.Context, req *pb.CreateRequest, rejected *RejectedError) error {
	if len(req.Spans) == 0 {
		return nil
	}
	var rsp *pb.CreateResponse
	// A trace-srv that hangs leaves time for the others.
	each := e.options.CollectTimeout / time.Duration(max(len(e.options.Collectors), 1))
	err := e.addrs.Call(ctx, "send spans to "+ServiceName, each, func(opts ...client.CallOption) (err error) {
		rsp, err = e.service.Create(ctx, req, opts...)
		return err
	})
	if err == nil && rsp.Rejected > 0 {
		rejected.add(int(rsp.Rejected), rsp.Reason)
	}
	return err
}

// copyToTopic sees every span; only while trace-srv is away it does something.
func (e *rpcExporter) copyToTopic(s *Span) {
	if e.unreachable.Load() {
		_ = e.copies.Add(s) // a lost copy does not count
	}
}

// publish sends the spans one by one and never fails: a topic may have no
// subscriber, so trying again would gain nothing.
func (e *rpcExporter) publish(ctx context.Context, spans []*Span) error {
	ctx = untraced(ctx)
	for _, s := range spans {
		if err := rpc.Publish(ctx, e.client, e.options.Topic, message(s)); err != nil {
			return nil //nolint:nilerr // see above
		}
	}
	return nil
}
