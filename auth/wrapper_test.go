package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/log"
	logdiscard "github.com/micro/go-platform/log/discard"
	"github.com/micro/go-platform/trace"
	tracediscard "github.com/micro/go-platform/trace/discard"
)

// guarded serves an Echo behind the wrappers of a.
func (w *world) guarded(stack, name string, a auth.Auth, opts ...auth.WrapperOption) *rpctest.Echo {
	w.t.Helper()
	return w.Serve(stack, name, server.WrapHandler(auth.HandlerWrapper(a, opts...)), server.WrapSubscriber(auth.SubscriberWrapper(a, opts...)))
}

func TestWrappersOverSockets(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t).up()
		w.srv.setRules(&pb.Rule{Id: "gateway-may", Effect: "allow", Accounts: []string{"shop.gateway"}, Services: []string{"shop.orders"}, Methods: []string{"Echo.*", rpctest.Topic}})
		orders := w.started()
		var seen atomic.Value
		handler := w.guarded(stack, "shop.orders", orders)
		handler.Forward = func(ctx context.Context) error {
			token, ok := auth.TokenFromContext(ctx)
			if !ok {
				return errors.New("no token in the context")
			}
			seen.Store(token.Account())
			return nil
		}
		gateway := w.started(auth.Id("shop.gateway"))
		rpctest.Eventually(t, "the rules are known", func() bool {
			_, err := authorize(orders, w.issuer.Token("x", nil))
			return errors.Is(err, auth.ErrForbidden)
		})
		allowed := w.Client(stack, auth.ClientWrapper(gateway))
		refused := w.Client(stack, auth.ClientWrapper(orders)) // orders calls itself
		naked := w.Client(stack)
		ctx := metadata.NewContext(t.Context(), metadata.Metadata{"x-test": "1"})

		svc := echo.NewEchoService("shop.orders", allowed)
		rsp, err := svc.Call(ctx, &echo.Request{Text: "hi"})
		if err != nil || rsp.Text != "hi" || seen.Load() != "shop.gateway" {
			t.Fatalf("call: %v %v %v", rsp, err, seen.Load())
		}
		if v := rsp.Metadata["x-test"] + rsp.Metadata["X-Test"]; v != "1" {
			t.Errorf("metadata was lost: %v", rsp.Metadata)
		}
		if err := rpctest.Converse(ctx, svc, 3, &echo.Request{End: true}); err != nil {
			t.Errorf("stream: %v", err)
		}
		if err := allowed.Publish(ctx, allowed.NewMessage(rpctest.Topic, &echo.Event{Text: "allowed"})); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "the message arrives", func() bool { return len(handler.Events()) == 1 })

		for name, c := range map[string]struct {
			client client.Client
			code   int32
			is     error
		}{
			"no token": {naked, 401, nil}, "wrong account": {refused, 403, auth.ErrForbidden},
		} {
			svc := echo.NewEchoService("shop.orders", c.client)
			_, err := svc.Call(ctx, &echo.Request{Text: "no"})
			if call.Code(err) != c.code || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: call: %v", name, err)
			}
			if c.code == 403 && !strings.Contains(merrors.FromError(err).Detail, "no rule matches") {
				t.Errorf("%s: the rule is not named: %v", name, err)
			}
			err = rpctest.Converse(ctx, svc, 1, &echo.Request{End: true})
			if err == nil || stack == rpctest.GRPC && c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: stream: %v", name, err)
			}
			_ = c.client.Publish(ctx, c.client.NewMessage(rpctest.Topic, &echo.Event{Text: name})) // whether it is handled is looked at below
		}
		if err := allowed.Publish(ctx, allowed.NewMessage(rpctest.Topic, &echo.Event{Text: "last"})); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "the last message arrives", func() bool {
			events := handler.Events()
			return events[len(events)-1].Text == "last"
		})
		onlyTheAllowed(t, handler)
	})
}

// onlyTheAllowed checks that no other message came to the subscriber.
func onlyTheAllowed(t *testing.T, handler *rpctest.Echo) {
	t.Helper()
	for _, e := range handler.Events() {
		if e.Text != "allowed" && e.Text != "last" {
			t.Errorf("a message got in: %q", e.Text)
		}
		if _, there := e.Metadata["authorization"]; there {
			t.Error("the subscriber sees the token")
		}
	}
}

// The whole chain gateway → orders → stock: the token of gateway ends at orders
// unless orders is told to forward it.
func TestCallersTokenIsNotForwarded(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		for name, c := range map[string]struct {
			wrap func(a auth.Auth) []client.Wrapper
			want string
		}{
			"by itself":         {func(a auth.Auth) []client.Wrapper { return []client.Wrapper{auth.ClientWrapper(a)} }, "shop.orders"},
			"told to":           {func(a auth.Auth) []client.Wrapper { return []client.Wrapper{auth.ClientWrapper(a, auth.Forward())} }, "shop.gateway"},
			"no client wrapper": {func(auth.Auth) []client.Wrapper { return nil }, ""},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t).up()
				gateway, orders, stock := w.started(auth.Id("shop.gateway")), w.started(), w.started(auth.Id("shop.stock"))
				var end atomic.Value
				end.Store("")
				w.guarded(stack, "shop.stock", stock, auth.Open("Echo.*")).Forward = func(ctx context.Context) error {
					if token, ok := auth.TokenFromContext(ctx); ok {
						end.Store(token.Account())
					}
					return nil
				}
				c2 := w.Client(stack, c.wrap(orders)...)
				middle := w.guarded(stack, "shop.orders", orders)
				middle.Forward = func(ctx context.Context) error {
					_, err := echo.NewEchoService("shop.stock", c2).Call(ctx, &echo.Request{})
					return err
				}
				// The pool of an rpc client goes with the garbage, see rpctest.Main.
				t.Cleanup(func() { middle.Forward = nil })
				svc := echo.NewEchoService("shop.orders", w.Client(stack, auth.ClientWrapper(gateway)))
				if _, err := svc.Call(t.Context(), &echo.Request{}); err != nil {
					t.Fatal(err)
				}
				if end.Load() != c.want {
					t.Errorf("stock was called by %q, want %q", end.Load(), c.want)
				}
			})
		}
	})
}

// sent is a client that keeps what would be sent.
type sent struct {
	client.Client
	md  metadata.Metadata
	err error
}

func (s *sent) Call(ctx context.Context, _ client.Request, _ any, _ ...client.CallOption) error {
	s.md, _ = metadata.FromContext(ctx)
	return s.err
}

func (s *sent) Publish(ctx context.Context, _ client.Message, _ ...client.PublishOption) error {
	return s.Call(ctx, nil, nil)
}

func (s *sent) Stream(ctx context.Context, _ client.Request, _ ...client.CallOption) (client.Stream, error) {
	return nil, s.Call(ctx, nil, nil)
}

// to is a call of a service.
func to(service string) client.Request { return clientRequest{service: service} }

type clientRequest struct {
	client.Request
	service string
}

func (r clientRequest) Service() string { return r.service }

// about is a message of a topic.
func about(topic string) client.Message { return message{topic: topic} }

type message struct {
	client.Message
	topic string
}

func (m message) Topic() string { return m.topic }

func TestClientWrapperChoosesTheToken(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	own := func(audience string) string {
		mine, err := a.(auth.Source).TokenFor(audience)
		if err != nil {
			t.Fatal(err)
		}
		return mine.AccessToken
	}
	chosen := &auth.Token{AccessToken: "chosen"}
	inbound := metadata.NewContext(context.Background(), metadata.Metadata{"Authorization": "Bearer inbound", "AUTHORIZATION": "Bearer inbound2", "x-keep": "1"})
	handling := auth.WithToken(inbound, &auth.Token{AccessToken: "caller", TokenType: "Bearer"})
	for name, c := range map[string]struct {
		ctx  context.Context
		opts []auth.WrapperOption
		want string
	}{
		"own":                          {context.Background(), nil, "own"},
		"own, not the inbound":         {inbound, nil, "own"},
		"own, not the caller's":        {handling, nil, "own"},
		"the caller's, told to":        {handling, []auth.WrapperOption{auth.Forward()}, "caller"},
		"own, told to but no caller":   {inbound, []auth.WrapperOption{auth.Forward()}, "own"},
		"chosen":                       {a.NewContext(handling, chosen), nil, "chosen"},
		"chosen before the caller's":   {a.NewContext(handling, chosen), []auth.WrapperOption{auth.Forward()}, "chosen"},
		"chosen, with CR LF: none":     {a.NewContext(handling, &auth.Token{AccessToken: "x\r\ny: z"}), nil, ""},
		"chosen, of a forged type":     {a.NewContext(handling, &auth.Token{AccessToken: "x", TokenType: "Bearer x"}), nil, ""},
		"caller's, told to, malformed": {auth.WithToken(inbound, &auth.Token{AccessToken: "a b"}), []auth.WrapperOption{auth.Forward()}, ""},
	} {
		out := &sent{}
		wrapped := auth.ClientWrapper(a, c.opts...)(out)
		for kind, send := range map[string]func() error{
			"Call":    func() error { return wrapped.Call(c.ctx, to("shop.stock"), nil) },
			"Publish": func() error { return wrapped.Publish(c.ctx, about("news")) },
			"Stream":  func() error { _, err := wrapped.Stream(c.ctx, to("shop.stock")); return err },
		} {
			if err := send(); err != nil {
				t.Fatal(err)
			}
			want := "Bearer " + c.want
			switch {
			case c.want == "":
				want = ""
			case c.want == "own" && kind == "Publish":
				want = "Bearer " + own("topic:news")
			case c.want == "own":
				want = "Bearer " + own("shop.stock")
			}
			if out.md["authorization"] != want || len(out.md) > 2 || out.md["Authorization"] != "" {
				t.Errorf("%s: %s sent %v", name, kind, out.md)
			}
			if before, _ := metadata.FromContext(c.ctx); before["x-keep"] != out.md["x-keep"] {
				t.Errorf("%s: %s lost metadata: %v", name, kind, out.md)
			}
		}
	}
}

func TestRefusalsAreSentinels(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	for code, want := range map[int32]error{401: auth.ErrInvalidToken, 403: auth.ErrForbidden} {
		from := merrors.New("shop.orders", "because", code)
		for stack, raw := range map[string]error{"grpc": from, "rpc": errors.New(from.Error())} {
			err := auth.ClientWrapper(a)(&sent{err: raw}).Call(context.Background(), to("shop.stock"), nil)
			if !errors.Is(err, want) || !errors.Is(err, raw) || call.Code(err) != code || merrors.FromError(err).Detail != "because" {
				t.Errorf("%s %d: %v", stack, code, err)
			}
		}
	}
	other := errors.New("other")
	if err := auth.ClientWrapper(a)(&sent{err: other}).Call(context.Background(), to("shop.stock"), nil); err != other { //nolint:errorlint // it must be the same
		t.Errorf("got %v", err)
	}
}

// An own token that others refuse is replaced.
func TestRefusedOwnTokenIsRenewed(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	mine := a.(auth.Source)
	first, err := mine.TokenFor("shop.stock")
	if err != nil {
		t.Fatal(err)
	}
	c := auth.ClientWrapper(a)(&sent{err: merrors.Unauthorized("s", "no")})
	for range 100 {
		_ = c.Call(context.Background(), to("shop.stock"), nil) // refused, as above
	}
	rpctest.Eventually(t, "another token", func() bool { next, err := mine.TokenFor("shop.stock"); return err == nil && next != first })
	if n := w.srv.askedFor("shop.stock"); n != 2 {
		t.Errorf("%d requests for tokens", n)
	}
}

// Before the issuer exists calls go without a token, at once, and say so when
// they are refused.
func TestCallsBeforeTheIssuer(t *testing.T) {
	w := newWorld(t)
	a := w.auth()
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	out := &sent{}
	c := auth.ClientWrapper(a)(out)
	if err := c.Call(context.Background(), to("shop.stock"), nil); err != nil || len(out.md) != 0 {
		t.Errorf("%v %v", err, out.md)
	}
	out.err = merrors.Unauthorized("s", "no token")
	if err := c.Call(context.Background(), to("shop.stock"), nil); !errors.Is(err, auth.ErrInvalidToken) || !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// The client that the plugin was given may be wrapped by itself.
func TestWrappedByItself(t *testing.T) {
	w := newWorld(t).up()
	bare := w.Client(rpctest.GRPC)
	lazy := &lazyClient{Client: bare}
	a := w.auth(auth.Client(lazy))
	lazy.wrapped = auth.ClientWrapper(a)(bare)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(); err != nil {
		t.Error(err)
	}
	w.knows(a)
}

type lazyClient struct {
	client.Client
	wrapped client.Client
}

func (l *lazyClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return l.wrapped.Call(ctx, req, rsp, opts...)
}

func (l *lazyClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return l.wrapped.Stream(ctx, req, opts...)
}

// Messages straight on the broker, and posted to the port of an rpc server as
// anybody can, are refused unless they carry a token.
func TestForgedMessages(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t).up()
		a := w.started()
		handler := w.guarded(stack, "shop.orders", a)
		body := []byte(`{"text":"forged"}`)
		send := func(headers map[string]string) {
			headers["Content-Type"], headers["Micro-Topic"] = "application/json", rpctest.Topic
			_ = w.Broker.Publish(rpctest.Topic, &broker.Message{Header: headers, Body: body}) // what the subscriber says does not matter
		}
		send(map[string]string{})
		send(map[string]string{"authorization": "Bearer forged"})
		send(map[string]string{"Authorization": "Bearer " + w.issuer.Token("a", map[string]any{"iss": "other"})})
		if stack == rpctest.RPC {
			services, err := w.Registry.GetService("shop.orders")
			if err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequest(http.MethodPost, "http://"+services[0].Nodes[0].Address, bytes.NewReader(body)) // the URL is one
			req.Header.Set("Micro-Topic", rpctest.Topic)
			req.Header.Set("Content-Type", "application/json")
			rsp, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = rsp.Body.Close() // nobody reads it
			}
			http.DefaultClient.CloseIdleConnections()
		}
		c := w.Client(stack, auth.ClientWrapper(a))
		if err := c.Publish(t.Context(), c.NewMessage(rpctest.Topic, &echo.Event{Text: "real"})); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "the real one arrives", func() bool { return len(handler.Events()) > 0 })
		if events := handler.Events(); len(events) != 1 || events[0].Text != "real" {
			t.Errorf("got %v", events)
		}
	})
}

// Every order of wrappers keeps everybody's metadata.
func TestOrderOfWrappers(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	l, tr := log.NewLog(log.WithOutput(logdiscard.NewOutput())), tracediscard.NewTrace()
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Stop() }) // the test is over
	clients := []client.Wrapper{auth.ClientWrapper(a), trace.ClientWrapper(tr, nil), log.ClientWrapper(l)}
	for n, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		rpctest.Stacks(t, func(t *testing.T, stack string) {
			var cw []client.Wrapper
			var hw []server.Option
			name := fmt.Sprint("order", n, stack)
			handlers := []server.HandlerWrapper{auth.HandlerWrapper(a, auth.As(name)), trace.HandlerWrapper(tr, nil), log.HandlerWrapper(l)}
			for _, i := range order {
				cw, hw = append(cw, clients[i]), append(hw, server.WrapHandler(handlers[i]))
			}
			w.Serve(stack, name, hw...)
			rsp, err := echo.NewEchoService(name, w.Client(stack, cw...)).Call(metadata.NewContext(t.Context(), metadata.Metadata{"x-a": "1"}), &echo.Request{})
			if err != nil {
				t.Fatal(err)
			}
			if rsp.Metadata["x-a"]+rsp.Metadata["X-A"] != "1" {
				t.Errorf("%v: %v", order, rsp.Metadata)
			}
			for k := range rsp.Metadata {
				if strings.EqualFold(k, "authorization") {
					t.Errorf("%v: the handler sees the token", order)
				}
			}
		})
	}
}
