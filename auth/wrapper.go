package auth

import (
	"context"
	"strings"
	"sync/atomic"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/header"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpc"
)

// WrapperOption changes a wrapper that is being made. Each says for which it is.
type WrapperOption func(*wrapperOptions)

type wrapperOptions struct {
	forward  bool
	open     []string
	identity []string
	service  string
}

// Forward makes ClientWrapper send the verified token of the caller on when a
// handler makes calls for that caller. If the Auth can (see Exchanger), the
// token is exchanged for one for the service that is called, which can then act
// as the caller, through another exchange, for as long as the token lives. The
// token of a message cannot be exchanged: calls that its subscriber makes go
// without. Where there is no caller the service's own token is sent.
func Forward() WrapperOption { return func(o *wrapperOptions) { o.forward = true } }

// Open names methods ("Handler.Method", "Handler.*") and, for SubscriberWrapper,
// topics that need no token. One that is sent and good is still in the context.
func Open(methods ...string) WrapperOption {
	return func(o *wrapperOptions) { o.open = append(o.open, methods...) }
}

// Identity names headers by which proxies or older peers tell who calls.
// HandlerWrapper and SubscriberWrapper remove them, in any letter case, as
// anybody could have written them.
func Identity(headers ...string) WrapperOption {
	return func(o *wrapperOptions) { o.identity = append(o.identity, headers...) }
}

// As sets the name that HandlerWrapper and SubscriberWrapper decide for. The
// default is that of the plugin (NewAuth has the option Service). The account of
// the plugin must hold the name, see Names; at most 16 services share one plugin.
func As(service string) WrapperOption { return func(o *wrapperOptions) { o.service = service } }

func newWrapperOptions(opts []WrapperOption) wrapperOptions {
	var o wrapperOptions
	option.Apply(&o, opts)
	return o
}

// ClientWrapper sends a token with every Call, Stream and Publish: the one that
// NewContext put into the context, else with Forward the caller's, else the
// service's own. If the Auth has tokens for one audience each (see Source and
// Exchanger), the token is for the service that is called, or for the topic of
// the message. While there is no token the call goes without one, so that methods
// that need none work before the issuer does. All other metadata is kept. An
// authorization that is in the metadata never leaves: go-micro would pass a
// caller's on to whomever its handler calls.
//
// Errors 401 and 403 that come back are ErrInvalidToken and ErrForbidden.
func ClientWrapper(a Auth, opts ...WrapperOption) client.Wrapper {
	o := newWrapperOptions(opts)
	return func(c client.Client) client.Client {
		return around(c, a, o)
	}
}

func around(c client.Client, a Auth, o wrapperOptions) *clientWrapper {
	return &clientWrapper{Client: c, auth: a, options: o, editor: header.NewEditor(Header)}
}

// Options has the wrapper carried on to the clients that plugins make of this
// one: without it their services would refuse them.
func (w *clientWrapper) Options() client.Options {
	return rpc.Carry(w.Client.Options(), func(c client.Client) client.Client { return around(c, w.auth, w.options) })
}

type clientWrapper struct {
	client.Client
	auth    Auth
	options wrapperOptions
	editor  *header.Editor
	own     atomic.Pointer[map[target]*ownHeader]
}

// target is a service or a topic.
type target struct {
	name  string
	topic bool
}

func (t target) audience() string {
	if t.topic {
		return TopicAudience(t.name)
	}
	return t.name
}

// ownHeader saves making the audience and the header's value for each call.
type ownHeader struct {
	audience string
	token    *Token
	value    string
}

// maxOwnHeaders bounds what is saved.
const maxOwnHeaders = 1024

func (w *clientWrapper) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	if isPlain(ctx) {
		return w.Client.Call(ctx, req, rsp, opts...)
	}
	ctx, sent := w.outgoing(ctx, target{name: req.Service()})
	return w.seen(sent, w.Client.Call(ctx, req, rsp, opts...))
}

func (w *clientWrapper) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	if isPlain(ctx) {
		return w.Client.Stream(ctx, req, opts...)
	}
	ctx, sent := w.outgoing(ctx, target{name: req.Service()})
	s, err := w.Client.Stream(ctx, req, opts...)
	if err != nil {
		return s, w.seen(sent, err)
	}
	return &clientStream{s, w, sent}, nil
}

func (w *clientWrapper) Publish(ctx context.Context, msg client.Message, opts ...client.PublishOption) error {
	if isPlain(ctx) {
		return w.Client.Publish(ctx, msg, opts...)
	}
	ctx, _ = w.outgoing(ctx, target{msg.Topic(), true})
	return w.Client.Publish(ctx, msg, opts...)
}

// whose says which token went with a call.
type whose struct {
	own   string // the audience of the own token, if it was sent
	token *Token // the own token
	err   error  // why none was
}

// outgoing returns ctx with metadata that holds one authorization or none.
func (w *clientWrapper) outgoing(ctx context.Context, to target) (context.Context, whose) {
	value, sent := w.authorization(ctx, to)
	return w.editor.With(ctx, value), sent
}

func (w *clientWrapper) authorization(ctx context.Context, to target) (string, whose) {
	t := carried(ctx)
	if t == nil && w.options.forward {
		t, _ = TokenFromContext(ctx)
	}
	if t != nil {
		return w.others(ctx, t, to)
	}
	var kept *ownHeader
	if all := w.own.Load(); all != nil {
		kept = (*all)[to]
	}
	if kept == nil {
		kept = &ownHeader{audience: to.audience()}
	}
	t, err := w.mine(kept.audience)
	if err != nil {
		return "", whose{err: err}
	}
	if kept.token == t {
		return kept.value, whose{own: kept.audience, token: t}
	}
	value, ok := format(t)
	if !ok {
		return "", whose{err: ErrInvalidToken}
	}
	w.keep(to, &ownHeader{kept.audience, t, value})
	return value, whose{own: kept.audience, token: t}
}

// mine returns the own token to send to the audience.
func (w *clientWrapper) mine(audience string) (*Token, error) {
	if s, ok := w.auth.(Source); ok {
		return s.TokenFor(audience)
	}
	return w.auth.Token()
}

// others returns the value for somebody else's token, exchanged for one for the
// receiver.
func (w *clientWrapper) others(ctx context.Context, t *Token, to target) (string, whose) {
	if _, ok := format(t); !ok {
		return "", whose{err: ErrInvalidToken}
	}
	if e, ok := w.auth.(Exchanger); ok {
		var err error
		if t, err = e.Exchange(ctx, t, to.audience()); err != nil {
			return "", whose{err: err}
		}
	}
	value, ok := format(t)
	if !ok {
		return "", whose{err: ErrInvalidToken}
	}
	return value, whose{}
}

// keep saves a header. Of two at the same time one may be lost, and made again.
func (w *clientWrapper) keep(to target, made *ownHeader) {
	to.name = strings.Clone(to.name)
	all := map[target]*ownHeader{to: made}
	if old := w.own.Load(); old != nil && len(*old) < maxOwnHeaders {
		for k, v := range *old {
			if k != to {
				all[k] = v
			}
		}
	}
	w.own.Store(&all)
}

// seen gives a refusal its sentinel and has an own token that was refused
// replaced.
func (w *clientWrapper) seen(sent whose, err error) error {
	if err == nil || call.Ended(err) {
		return err
	}
	switch call.Code(err) {
	case 401:
		w.refused(sent)
		return &refusal{err, ErrInvalidToken, sent.err}
	case 403:
		return &refusal{err, ErrForbidden, nil}
	}
	return err
}

func (w *clientWrapper) refused(sent whose) {
	if sent.own == "" {
		return
	}
	switch r := w.auth.(type) {
	case interface{ RenewIfUsed(t *Token) }: // a stream may end with a token that has been replaced
		r.RenewIfUsed(sent.token)
	case interface{ RenewFor(audience string) }:
		r.RenewFor(sent.own)
	case interface{ Renew() }:
		r.Renew()
	}
}

// refusal is an error of the other side, unchanged, that is a sentinel too.
type refusal struct {
	error
	is   error
	none error // why no token was sent
}

func (r *refusal) Unwrap() []error {
	if r.none != nil {
		return []error{r.error, r.is, r.none}
	}
	return []error{r.error, r.is}
}

type clientStream struct {
	client.Stream
	wrapper *clientWrapper
	sent    whose
}

func (s *clientStream) Send(msg any) error { return s.wrapper.seen(s.sent, s.Stream.Send(msg)) }
func (s *clientStream) Recv(msg any) error { return s.wrapper.seen(s.sent, s.Stream.Recv(msg)) }
