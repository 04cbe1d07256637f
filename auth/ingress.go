package auth

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/header"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Bounds of the metadata of a call: 64 keys and 8 KB of its own, beside the
// token and what go-micro adds.
const (
	maxKeys     = 64 + 16
	maxMetadata = 8<<10 + 1<<10
)

// callerHeader is where go-micro's clients say what service they are.
const callerHeader = "micro-from-service"

// HandlerWrapper lets a call or a stream through when the metadata has one
// authorization whose account may make it, and puts the verified token into the
// context (TokenFromContext). It decides by the name of this service and the
// endpoint that will be run, never by what the caller calls them.
//
// Authorization and the headers of Identity are taken out of the metadata that
// the handler sees, so that they cannot be passed on by accident, and
// Micro-From-Service says who the caller is instead of what it pretends to be.
// Refusals are go-micro errors: 401, 403 naming the rule, 503 while nothing is
// known to verify tokens with, 400 for metadata of more than 8 KB or 64 keys.
//
// A stream is judged again whenever rules or revocations change, and when its
// token expires: it ends within a second when it would not be let in now, with
// 401 or 403, the handler's context done. Its caller opens another, with another
// token.
func HandlerWrapper(a Auth, opts ...WrapperOption) server.HandlerWrapper {
	in := newIngress(a, opts)
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			admitted, err := in.admit(ctx, req.Header(), request{service: in.name(req.Service()), method: req.Endpoint()})
			if err != nil {
				return err
			}
			stream, ok := rsp.(server.Stream)
			if !ok || admitted.token == nil {
				return next(admitted, req, rsp)
			}
			return in.review(admitted).Serve(admitted, stream, func(ctx context.Context, s server.Stream) error { return next(ctx, req, s) })
		}
	}
}

// review judges the caller of a stream as it was when it began.
func (in *ingress) review(a *admitted) Review {
	r := Review{Service: a.request.service, Expires: a.token.ExpiresAt, Again: func() error {
		value, n, _ := scan(a.raw)
		_, err := in.verify(a.Context, value, n, &a.request)
		return err
	}}
	if c, ok := in.auth.(Changing); ok {
		r.Changed = c.Changed
	}
	return r
}

// SubscriberWrapper does the same for messages. In rules the service is the
// subscriber's and the method the topic. A message is verified when it is
// handled: one that waited longer than its token lives is refused.
func SubscriberWrapper(a Auth, opts ...WrapperOption) server.SubscriberWrapper {
	in := newIngress(a, opts)
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			ctx, err := in.admit(ctx, msg.Header(), request{service: in.name(""), method: msg.Topic(), topic: true})
			if err != nil {
				return err
			}
			return next(ctx, msg)
		}
	}
}

// request is an Aimed.
type request struct {
	service, method string
	topic           bool
}

func (r *request) Service() string { return r.service }
func (r *request) Method() string  { return r.method }

// Audience implements Aimed.
func (r *request) Audience() string {
	if r.topic {
		return TopicAudience(r.method)
	}
	return r.service
}

// ingress is where calls and messages come in.
type ingress struct {
	auth     Auth
	verifier Verifier // nil: auth is none
	service  string
	open     map[string]bool
	prefixes []string
	identity []string
	view     header.View
}

func newIngress(a Auth, opts []WrapperOption) *ingress {
	o := newWrapperOptions(opts)
	in := &ingress{
		auth: a, service: o.service, open: map[string]bool{}, view: header.NewView(),
		identity: append([]string{Header, callerHeader}, o.identity...),
	}
	in.verifier, _ = a.(Verifier)
	if named, ok := a.(interface{ ServiceName() string }); ok && in.service == "" {
		in.service = named.ServiceName()
	}
	if d, ok := a.(interface{ DecideFor(service string) }); ok && o.service != "" {
		d.DecideFor(o.service)
	}
	for _, method := range o.open {
		if begin, ok := strings.CutSuffix(method, "*"); ok {
			in.prefixes = append(in.prefixes, begin)
		} else {
			in.open[method] = true
		}
	}
	return in
}

// name returns the service to decide for: what the request says only if nobody
// told.
func (in *ingress) name(said string) string {
	if in.service != "" {
		return in.service
	}
	return said
}

func (in *ingress) isOpen(method string) bool {
	if in.open[method] {
		return true
	}
	for _, p := range in.prefixes {
		if strings.HasPrefix(method, p) {
			return true
		}
	}
	return false
}

// admit returns the context for the handler, or a go-micro error.
func (in *ingress) admit(ctx context.Context, head map[string]string, req request) (*admitted, error) {
	md := in.view.Of(ctx)
	if md == nil {
		md = head
	}
	value, n, size := scan(md)
	if len(md) > maxKeys || size > maxMetadata {
		return nil, in.refuse(req, fmt.Errorf("metadata: %w: more than 8 KB or 64 keys", ErrInvalid))
	}
	a := &admitted{Context: ctx, ingress: in, request: req, raw: md}
	t, err := in.verify(ctx, value, n, &a.request)
	switch {
	case err == nil:
		a.token = t
	case !in.isOpen(req.method):
		return nil, in.refuse(req, err)
	}
	return a, nil
}

// scan reads what there is to know of metadata in one pass.
func scan(md map[string]string) (value string, n, size int) {
	for k, v := range md {
		if len(k) == len(Header) && strings.EqualFold(k, Header) {
			value = v
			n++
			continue
		}
		size += len(k) + len(v)
	}
	return value, n, size
}

var errTwo = fmt.Errorf("%w: more than one authorization", ErrInvalidToken)

func (in *ingress) verify(ctx context.Context, value string, n int, req *request) (*Token, error) {
	switch {
	case n == 0:
		return nil, errNoToken
	case n > 1:
		return nil, errTwo
	case len(value) > MaxToken+64:
		return nil, fmt.Errorf("%w: longer than 8 KB", ErrInvalidToken)
	}
	if in.verifier != nil && len(value) > len(Bearer) && value[len(Bearer)] == ' ' && strings.EqualFold(value[:len(Bearer)], Bearer) {
		return in.verifier.Verify(ctx, value[len(Bearer)+1:], req) // which knows what a token looks like
	}
	kind, token, ok := parse(value)
	if !ok || !strings.EqualFold(kind, Bearer) {
		return nil, fmt.Errorf("%w: malformed authorization", ErrInvalidToken)
	}
	return in.auth.Authorized(in.auth.NewContext(ctx, &Token{AccessToken: token, TokenType: kind}), req)
}

func (in *ingress) refuse(req request, err error) error { return rpcerr.To(req.service, err) }

// admitted is the context of a caller who was let in. Handlers that neither
// read metadata nor call others save the copy without the caller's secrets.
type admitted struct {
	context.Context
	ingress *ingress
	request request // here, so that it needs no memory of its own
	token   *Token  // nil for an open method
	raw     metadata.Metadata
	once    sync.Once
	safe    metadata.Metadata
}

func (a *admitted) Value(key any) any {
	if key == (tokenKey{}) {
		return a.token
	}
	if a.ingress.view.Is(key) {
		a.once.Do(a.clean)
		return a.safe
	}
	return a.Context.Value(key)
}

func (a *admitted) clean() {
	a.safe = metadata.Copy(a.raw)
	_, said := header.Get(a.raw, callerHeader)
	header.DeleteAll(a.safe, a.ingress.identity)
	if said && a.token != nil {
		a.safe[callerHeader] = a.token.Account()
	}
}
