package trace

import (
	"context"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/header"
)

// callerHeader is the header in which go-micro's services name themselves. It is not
// authenticated: it only names the peer in a picture.
const callerHeader = "micro-from-service"

// HandlerWrapper records a span of the service for every call and stream that
// its handlers serve, joined to the caller's. A handler that panics is recorded
// as failed; the panic goes on.
func HandlerWrapper(t Trace, service *registry.Service) server.HandlerWrapper {
	view := header.NewView()
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			md := req.Header() // of the rpc stack
			if md == nil {
				md = view.Of(ctx)
			}
			ctx, s := serve(ctx, t, md, req.Endpoint(), service, AnnServerRequest)
			err := errPanic
			defer func() { finish(t, s, AnnServerResponse, s.Destination, err) }()
			err = next(ctx, req, rsp)
			return err
		}
	}
}

// SubscriberWrapper records a span of the service for every message that its
// subscribers handle, joined to the publisher's.
func SubscriberWrapper(t Trace, service *registry.Service) server.SubscriberWrapper {
	view := header.NewView()
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			md := msg.Header()
			if md == nil {
				md = view.Of(ctx)
			}
			ctx, s := serve(ctx, t, md, msg.Topic(), service, AnnServerSubscription)
			err := errPanic
			defer func() { finish(t, s, AnnUnknown, nil, err) }()
			err = next(ctx, msg)
			return err
		}
	}
}

func serve(ctx context.Context, t Trace, md map[string]string, name string, service *registry.Service, typ AnnotationType) (context.Context, *Span) {
	parent, ok := t.FromHeader(md)
	if !ok {
		parent, _ = t.FromContext(ctx)
	}
	s := t.NewSpan(parent)
	s.Name = name
	if s.Sampled() {
		if service == nil {
			service = s.Source // that of the options
		}
		s.Source = nil
		if from, ok := header.Get(md, callerHeader); ok && from != "" {
			s.Source = s.peer(cut(from, MaxName))
		}
		s.Destination = service
		s.add(Annotation{Timestamp: s.Timestamp, Type: typ, Service: service}, "")
	}
	return t.NewContext(ctx, s), s
}
