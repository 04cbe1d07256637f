// Package guard judges the callers of a grpc server before it works for them:
// the token when the headers arrive, the size of a message before it is read.
// HandlerWrapper of auth sees a call only after its message was read: until
// then a caller without any right could fill the memory.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The reasons of refusals that Observe reports.
const (
	Unauthenticated = "unauthenticated" // 401
	Forbidden       = "forbidden"       // 403
	Bytes           = "bytes"           // 429: more in flight than allowed
	Slow            = "slow"            // 408: a message did not arrive in time
	Large           = "large"           // 400: more than a caller without a token may send
	Streams         = "streams"         // 429: more streams than allowed
	Connections     = "connections"     // closed: too many that do nothing
)

// Judge returns the account of an access token if it may call a method. The
// token is "" when the caller sent none. No account and no error means that the
// method is open to callers without a token. A Judge whose ctx has ended must
// not wait: if it cannot decide now, it returns ErrUnavailable or the error of
// ctx, and is asked again with a ctx that has not ended.
type Judge func(ctx context.Context, method, accessToken string) (account string, err error)

// Guard watches over one grpc server. Make it with New.
type Guard struct {
	o       options
	judge   Judge // nil: everybody may call everything
	ended   context.Context
	budgets *budgets
}

// New returns a guard that judges callers with a, or with the Judge of By.
// Without either everybody may call, and what they send is bounded all the
// same.
func New(a auth.Auth, opts ...Option) *Guard {
	o := newOptions(opts)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	g := &Guard{o: o, judge: o.judge, ended: ended, budgets: newBudgets(o.limits)}
	if g.judge == nil && a != nil {
		g.judge = judgeBy(a, o)
	}
	return g
}

// ServerOption returns an option that guards a server of go-micro's grpc stack.
// It takes the place of server/grpc's Options: other grpc options go through
// Server. Keep auth.HandlerWrapper, which gives handlers the token of their
// caller.
func ServerOption(a auth.Auth, opts ...Option) server.Option {
	g := New(a, opts...)
	return func(o *server.Options) {
		mgrpc.Options(append(g.ServerOptions(), g.o.server...)...)(o)
		server.WrapHandler(g.HandlerWrapper())(o)
	}
}

// HandlerWrapper returns a wrapper that bounds the streams of each account and
// each host, see MaxStreams: grpc itself does not know which calls are streams.
// ServerOption contains it.
func (g *Guard) HandlerWrapper() server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			if !req.Stream() {
				return next(ctx, req, rsp)
			}
			c, ok := ctx.Value(callKey{}).(*call)
			if !ok {
				return merrors.New(g.o.service, errUnseen, 500)
			}
			if !c.share.streaming() {
				g.observe(Streams)
				return rpcerr.To(g.o.service, errStreams)
			}
			return next(ctx, req, rsp)
		}
	}
}

// ServerOptions returns the options of a guarded grpc server, among them its
// limit of message sizes, see MaxMessage.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InTapHandle(g.arrive),
		grpc.ChainStreamInterceptor(g.intercept),
		// Windows that grow with the bandwidth would let each stream hold 16 MB
		// that nobody asked for. A message that is being read gets what it needs.
		grpc.InitialWindowSize(streamWindow),
		// That of a connection is given back when bytes arrive, whoever reads them:
		// it bounds no memory, but 64 KB for a round trip would bound all calls.
		grpc.InitialConnWindowSize(connWindow),
		grpc.MaxRecvMsgSize(g.o.maxMessage),
		grpc.MaxSendMsgSize(g.o.maxMessage),
	}
}

// JudgeOf returns the Judge of a plugin, for By. It takes the options Open and As.
func JudgeOf(a auth.Auth, opts ...Option) Judge { return judgeBy(a, newOptions(opts)) }

func judgeBy(a auth.Auth, o options) Judge {
	service := o.service
	if named, ok := a.(interface{ ServiceName() string }); ok && service == "" {
		service = named.ServiceName()
	}
	if d, ok := a.(interface{ DecideFor(service string) }); ok && o.service != "" {
		d.DecideFor(o.service)
	}
	return func(ctx context.Context, method, accessToken string) (string, error) {
		err := errNoToken
		if accessToken != "" {
			var t *auth.Token
			ctx = a.NewContext(ctx, &auth.Token{AccessToken: accessToken, TokenType: auth.Bearer})
			t, err = a.Authorized(ctx, requestOf(service, method, o.service != ""))
			if err == nil && t != nil {
				return t.Account(), nil
			}
			if err == nil { // the plugin breaks its contract: nobody is let in by that
				err = errNoToken
			}
		}
		if o.isOpen(method) {
			return "", nil
		}
		return "", err
	}
}

func requestOf(service, method string, other bool) auth.Request {
	if other {
		return aimed{request{service, method}}
	}
	return request{service, method}
}

// aimed is a call of a service that the Auth decides for besides its own.
type aimed struct{ request }

func (r aimed) Audience() string { return r.service }

type request struct{ service, method string }

func (r request) Service() string { return r.service }
func (r request) Method() string  { return r.method }

var errNoToken = fmt.Errorf("%w: no token", auth.ErrInvalidToken)

// arrive judges a call when its headers have arrived. It runs in the goroutine
// that reads the connection and never waits.
func (g *Guard) arrive(ctx context.Context, info *tap.Info) (context.Context, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	c := &call{guard: g, method: methodOf(info.FullMethodName), token: tokenOf(info.Header)}
	var at net.Addr
	if p, ok := peer.FromContext(ctx); ok {
		at = p.Addr
	}
	switch err := c.decide(g.ended); {
	case errors.Is(err, auth.ErrUnavailable), errors.Is(err, context.Canceled):
		c.pending, c.stranger = true, true // judged again by intercept, which may wait
	case err != nil:
		return nil, g.refuse(err)
	}
	unread := int64(streamWindow)
	if c.stranger && !c.pending { // it is read as it arrives
		unread = idleStream
	}
	if !c.share.open(g.budgets, at, c.account, c.stranger, unread) {
		return nil, g.refuse(errInFlight)
	}
	began(at)
	if !c.stranger {
		know(at, c.account)
	}
	ctx, c.cancel = context.WithCancel(context.WithValue(ctx, callKey{}, c))
	// A call whose deadline passes at this moment never reaches intercept.
	c.forget = context.AfterFunc(ctx, c.end)
	return ctx, nil
}

// intercept runs before the handler reads anything.
func (g *Guard) intercept(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c, ok := stream.Context().Value(callKey{}).(*call)
	if !ok {
		return status.Error(codes.Internal, errUnseen)
	}
	if !c.forget() { // it ended meanwhile
		return status.FromContextError(stream.Context().Err()).Err()
	}
	defer c.end()
	if c.pending {
		if err := c.settle(stream.Context()); err != nil {
			return g.refuse(err)
		}
	}
	return handler(srv, newReader(stream, c))
}

type callKey struct{}

// call is one call from its headers to its end.
type call struct {
	guard    *Guard
	method   string
	token    string
	account  string
	stranger bool // may call this without a token
	pending  bool // not judged yet
	share    share
	cancel   context.CancelFunc
	forget   func() bool // reports whether it kept the call from being ended with its context
	ended    atomic.Bool
	slow     atomic.Bool // its message did not arrive in time
}

// decide asks the judge.
func (c *call) decide(ctx context.Context) error {
	if c.guard.judge == nil {
		return nil
	}
	var err error
	c.account, err = c.guard.judge(ctx, c.method, c.token)
	c.stranger = err == nil && c.account == ""
	return err
}

// patience is how long a call waits for keys and rules to verify its token
// with.
const patience = 2 * time.Second

// settle judges a call that could not be judged when it arrived.
func (c *call) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: 500 * time.Millisecond}
	for {
		err := c.decide(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, auth.ErrUnavailable) || wait.Wait(ctx) != nil {
			return err
		}
	}
	at, unread := c.share.at, int64(streamWindow)
	if c.stranger {
		unread = idleStream
	}
	c.share.close()
	if !c.share.open(c.guard.budgets, at, c.account, c.stranger, unread) {
		return errInFlight
	}
	if !c.stranger {
		know(at, c.account)
	}
	return nil
}

func (c *call) end() {
	if c.ended.CompareAndSwap(false, true) {
		over(c.share.at)
		c.share.close()
		c.cancel()
	}
}

var (
	errInFlight = fmt.Errorf("%w: more bytes are in flight than this caller or this server may have", auth.ErrLimited)
	errStreams  = fmt.Errorf("%w: more streams are open than this caller may have", auth.ErrLimited)
	errSlow     = fmt.Errorf("the message did not arrive in time: %w", context.DeadlineExceeded)
)

const errUnseen = "the guard has not seen this call"

func (g *Guard) observe(why string) {
	if g.o.observe != nil {
		g.o.observe(why)
	}
}

// refuse counts a refusal and gives it the form that go-micro's clients read.
func (g *Guard) refuse(err error) error {
	var e *merrors.Error
	errors.As(rpcerr.To(g.o.service, err), &e) // which is what To returns
	var why string
	code := codes.Unknown
	switch e.Code {
	case 400:
		why, code = Large, codes.InvalidArgument
	case 401:
		why, code = Unauthenticated, codes.Unauthenticated
	case 403:
		why, code = Forbidden, codes.PermissionDenied
	case 408:
		why, code = Slow, codes.DeadlineExceeded
	case 429:
		why, code = Bytes, codes.ResourceExhausted
	case 503:
		code = codes.Unavailable
	}
	if why != "" {
		g.observe(why)
	}
	e.Detail = strings.ToValidUTF8(e.Detail, "")
	s := status.New(code, e.Error())
	if detailed, err := s.WithDetails(e); err == nil {
		s = detailed
	} // or clients parse the message
	return s.Err()
}

// methodOf returns "Handler.Method" of "/package.Handler/Method", as go-micro
// looks handlers up.
func methodOf(full string) string {
	handler, method, ok := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	if !ok {
		return full
	}
	return handler[strings.LastIndexByte(handler, '.')+1:] + "." + method
}

// tokenOf returns the access token of the one authorization, "" without one.
func tokenOf(md metadata.MD) string {
	values := md[auth.Header]
	if len(values) != 1 {
		return ""
	}
	kind, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(kind, auth.Bearer) || len(token) > auth.MaxToken {
		return ""
	}
	return token
}
