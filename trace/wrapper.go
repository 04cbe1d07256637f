package trace

import (
	"context"
	"errors"
	"sync"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/header"
	"github.com/micro/go-platform/internal/rpc"
)

// headerWriter is implemented by a Trace whose wrappers write fewer headers
// than its NewHeader.
type headerWriter interface {
	WriteHeader(md map[string]string, s *Span) map[string]string
}

// soleWriter is implemented by a Trace that may have one header to write and no
// other, which costs no copy of the metadata of its own.
type soleWriter interface {
	SoleHeader(s *Span) (value string, sole bool)
}

func writer(t Trace) func(map[string]string, *Span) map[string]string {
	if w, ok := t.(headerWriter); ok {
		return w.WriteHeader
	}
	return t.NewHeader
}

// ClientWrapper records a span of the service for every Call, Stream and
// Publish, a child of the context's span, and sends its ids along. The span of
// a stream ends with the stream, or with its context. All metadata is kept but
// the headers of other spans.
func ClientWrapper(t Trace, service *registry.Service) client.Wrapper {
	made := tracedClient{trace: t, write: writer(t), editor: header.NewEditor(names[hTraceparent], names[:]...), service: service}
	made.sole, _ = t.(soleWriter)
	made.wrap = func(c client.Client) client.Client {
		wrapped := made
		wrapped.Client = c
		return &wrapped
	}
	return made.wrap
}

type tracedClient struct {
	client.Client
	trace   Trace
	write   func(map[string]string, *Span) map[string]string
	sole    soleWriter // nil: t writes whatever it wants
	editor  *header.Editor
	service *registry.Service
	wrap    client.Wrapper
}

// Options has the calls of plugins traced that make a client of their own out
// of this one.
func (c *tracedClient) Options() client.Options { return rpc.Carry(c.Client.Options(), c.wrap) }

func (c *tracedClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	ctx, s := c.begin(ctx, req.Endpoint(), req.Service(), AnnClientRequest)
	err := errPanic
	defer func() { c.end(s, AnnClientResponse, err) }()
	err = c.Client.Call(ctx, req, rsp, opts...)
	return err
}

func (c *tracedClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	ctx, s := c.begin(ctx, req.Endpoint(), req.Service(), AnnClientRequest)
	stream, err := c.Client.Stream(ctx, req, opts...)
	if err != nil || !s.Sampled() {
		c.end(s, AnnClientResponse, err)
		return stream, err
	}
	var once sync.Once
	done := func(err error) { once.Do(func() { c.end(s, AnnClientResponse, err) }) }
	// Whoever gives a stream up by ending its context need not close it.
	stop := context.AfterFunc(ctx, func() { done(ctx.Err()) })
	return call.WatchStream(stream, func(err error) {
		stop()
		done(err)
	}), nil
}

func (c *tracedClient) Publish(ctx context.Context, msg client.Message, opts ...client.PublishOption) error {
	ctx, s := c.begin(ctx, msg.Topic(), "", AnnClientPublication)
	err := errPanic
	defer func() { c.end(s, AnnUnknown, err) }()
	err = c.Client.Publish(ctx, msg, opts...)
	return err
}

// begin opens a span and puts its ids into the metadata. A
// handler that was not wrapped leaves the caller's ids in the metadata: they
// are as good as a span in the context.
func (c *tracedClient) begin(ctx context.Context, name, peer string, t AnnotationType) (context.Context, *Span) {
	parent, ok := c.trace.FromContext(ctx)
	if !ok {
		parent, _ = c.trace.FromHeader(c.editor.Of(ctx))
	}
	s := c.trace.NewSpan(parent)
	s.Name = name
	if s.Sampled() {
		if c.service != nil {
			s.Source = c.service
		}
		if peer != "" {
			s.Destination = s.peer(peer)
		}
		s.add(Annotation{Timestamp: s.Timestamp, Type: t, Service: s.Source}, "")
	}
	return c.send(c.trace.NewContext(ctx, s), s), s
}

func (c *tracedClient) send(ctx context.Context, s *Span) context.Context {
	if c.sole != nil {
		if value, sole := c.sole.SoleHeader(s); sole {
			return c.editor.With(ctx, value)
		}
	}
	md, _ := metadata.FromContext(ctx)
	return metadata.NewContext(ctx, c.write(md, s))
}

func (c *tracedClient) end(s *Span, t AnnotationType, err error) {
	finish(c.trace, s, t, s.Source, err)
}

// errPanic is what a span shows of work that neither returned nor failed.
var errPanic = errors.New("panic")

// finish notes how the work went and collects the span. A type of AnnUnknown
// says that the end is nothing of note.
func finish(t Trace, s *Span, end AnnotationType, at *registry.Service, err error) {
	if !s.Sampled() {
		return
	}
	if err != nil {
		s.Fail(err)
	}
	if s.Duration == 0 {
		s.Duration = max(time.Since(s.Timestamp), 1)
	}
	if end != AnnUnknown {
		s.add(Annotation{Timestamp: s.Timestamp.Add(s.Duration), Type: end, Service: at}, "")
	}
	_ = t.Collect(s) // it says that the span was dropped, which is counted
}
