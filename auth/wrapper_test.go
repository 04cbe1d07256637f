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

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	merrors "go-micro.dev/v5/errors"
	"go-micro.dev/v5/metadata"
	"go-micro.dev/v5/server"

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
			_ = c.client.Publish(ctx, c.client.NewMessage(rpctest.Topic, &echo.Event{Text: name}))
		}
		if err := allowed.Publish(ctx, allowed.NewMessage(rpctest.Topic, &echo.Event{Text: "last"})); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "the last message arrives", func() bool {
			events := handler.Events()
			return events[len(events)-1].Text == "last"
		})
		for _, e := range handler.Events() {
			if e.Text != "allowed" && e.Text != "last" {
				t.Errorf("a message got in: %q", e.Text)
			}
			if _, there := e.Metadata["authorization"]; there {
				t.Error("the subscriber sees the token")
			}
		}
	})
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

// local calls a handler behind HandlerWrapper without sockets and returns the
// context that the handler saw.
func local(a auth.Auth, md metadata.Metadata, method string, opts ...auth.WrapperOption) (context.Context, error) {
	var seen context.Context
	h := auth.HandlerWrapper(a, opts...)(func(ctx context.Context, _ server.Request, _ any) error { seen = ctx; return nil })
	err := h(metadata.NewContext(context.Background(), md), serverRequest{endpoint: method}, nil)
	return seen, err
}

// serverRequest lies about its service and its method, as the rpc stack lets
// callers do.
type serverRequest struct {
	server.Request
	endpoint string
}

func (serverRequest) Service() string           { return "open.service" }
func (serverRequest) Method() string            { return "Open.Method" }
func (r serverRequest) Endpoint() string        { return r.endpoint }
func (serverRequest) Header() map[string]string { return nil }

// TestHeaderAttacks: none of these gets in.
func TestHeaderAttacks(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys())
	good := w.issuer.Token("a", nil)
	big := strings.Repeat("x", 9<<10)
	many := metadata.Metadata{"authorization": "Bearer " + good}
	for n := range 100 {
		many[fmt.Sprint("k", n)] = ""
	}
	if _, err := local(a, metadata.Metadata{"Authorization": "Bearer " + good}, "M.X"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		md   metadata.Metadata
		code int32
	}{
		"no metadata":              {nil, 401},
		"two spellings, both good": {metadata.Metadata{"authorization": "Bearer " + good, "Authorization": "Bearer " + good}, 401},
		"two spellings, one empty": {metadata.Metadata{"AUTHORIZATION": "Bearer " + good, "authorization": ""}, 401},
		"two values joined":        {metadata.Metadata{"authorization": "Bearer " + good + ", Bearer " + good}, 401},
		"basic":                    {metadata.Metadata{"authorization": "Basic " + good}, 401},
		"no type":                  {metadata.Metadata{"authorization": good}, 401},
		"empty":                    {metadata.Metadata{"authorization": ""}, 401},
		"type alone":               {metadata.Metadata{"authorization": "Bearer "}, 401},
		"two spaces":               {metadata.Metadata{"authorization": "Bearer  " + good}, 401},
		"tab":                      {metadata.Metadata{"authorization": "Bearer\t" + good}, 401},
		"CR LF":                    {metadata.Metadata{"authorization": "Bearer " + good + "\r\nx-admin: 1"}, 401},
		"NUL":                      {metadata.Metadata{"authorization": "Bearer " + good + "\x00"}, 401},
		"other alphabet":           {metadata.Metadata{"authorization": "Вearer " + good}, 401},
		"1 MB":                     {metadata.Metadata{"authorization": "Bearer " + strings.Repeat("a", 1<<20)}, 401},
		"another key":              {metadata.Metadata{"proxy-authorization": "Bearer " + good, "x-authorization": "Bearer " + good}, 401},
		"oversize metadata":        {metadata.Metadata{"authorization": "Bearer " + good, "x": big}, 400},
		"too many keys":            {many, 400},
	} {
		if _, err := local(a, c.md, "M.X"); call.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSpoofedIdentityHeaders(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys())
	md := metadata.Metadata{
		"authorization": "Bearer " + w.issuer.Token("real", nil), "Micro-From-Service": "admin", "X-Remote-User": "root", "x-keep": "1",
	}
	ctx, err := local(a, md, "M.X", auth.Identity("x-remote-user"))
	if err != nil {
		t.Fatal(err)
	}
	seen, _ := metadata.FromContext(ctx)
	if len(seen) != 2 || seen["micro-from-service"] != "real" || seen["x-keep"] != "1" {
		t.Errorf("the handler sees %v", seen)
	}
	if len(md) != 4 {
		t.Errorf("the caller's map was changed: %v", md)
	}
	if token, ok := auth.TokenFromContext(ctx); !ok || token.Account() != "real" {
		t.Errorf("token: %v", token)
	}
}

// The service and the method that a caller writes into a request decide nothing.
func TestRequestThatLies(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys(), &pb.Rule{Id: "open", Effect: "allow", Services: []string{"open.service"}},
		&pb.Rule{Id: "method", Effect: "allow", Methods: []string{"Open.Method"}})
	md := metadata.Metadata{"authorization": "Bearer " + w.issuer.Token("a", nil)}
	if _, err := local(a, md, "Secret.Read"); call.Code(err) != 403 {
		t.Errorf("got %v", err)
	}
}

func TestOpenMethods(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys(), &pb.Rule{Id: "none", Effect: "deny"})
	open := auth.Open("Health.Check", "Public.*")
	token := metadata.Metadata{"authorization": "Bearer " + w.issuer.Token("a", nil)}
	for method, code := range map[string]int32{"Health.Check": 0, "Public.X": 0, "Health.CheckX": 401, "Publicx": 401, "X.Public.X": 401} {
		if _, err := local(a, nil, method, open); call.Code(err) != code {
			t.Errorf("%s: %v", method, err)
		}
	}
	ctx, err := local(a, metadata.Metadata{"authorization": "Bearer bad", "micro-from-service": "admin"}, "Public.X", open)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := auth.TokenFromContext(ctx); ok {
		t.Error("a bad token is in the context")
	}
	if md, _ := metadata.FromContext(ctx); len(md) != 0 {
		t.Errorf("left: %v", md)
	}
	if _, err := local(a, token, "Secret.X", open); call.Code(err) != 403 {
		t.Errorf("secret: %v", err)
	}
}

// forged is a client that keeps what would be sent.
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

func TestClientWrapperChoosesTheToken(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	own, err := a.Token()
	if err != nil {
		t.Fatal(err)
	}
	chosen := &auth.Token{AccessToken: "chosen"}
	inbound := metadata.NewContext(context.Background(), metadata.Metadata{"Authorization": "Bearer inbound", "AUTHORIZATION": "Bearer inbound2", "x-keep": "1"})
	handling := auth.WithToken(inbound, &auth.Token{AccessToken: "caller", TokenType: "Bearer"})
	for name, c := range map[string]struct {
		ctx  context.Context
		opts []auth.WrapperOption
		want string
	}{
		"own":                          {context.Background(), nil, own.AccessToken},
		"own, not the inbound":         {inbound, nil, own.AccessToken},
		"own, not the caller's":        {handling, nil, own.AccessToken},
		"the caller's, told to":        {handling, []auth.WrapperOption{auth.Forward()}, "caller"},
		"own, told to but no caller":   {inbound, []auth.WrapperOption{auth.Forward()}, own.AccessToken},
		"chosen":                       {a.NewContext(handling, chosen), nil, "chosen"},
		"chosen before the caller's":   {a.NewContext(handling, chosen), []auth.WrapperOption{auth.Forward()}, "chosen"},
		"chosen, with CR LF: none":     {a.NewContext(handling, &auth.Token{AccessToken: "x\r\ny: z"}), nil, ""},
		"chosen, of a forged type":     {a.NewContext(handling, &auth.Token{AccessToken: "x", TokenType: "Bearer x"}), nil, ""},
		"caller's, told to, malformed": {auth.WithToken(inbound, &auth.Token{AccessToken: "a b"}), []auth.WrapperOption{auth.Forward()}, ""},
	} {
		out := &sent{}
		wrapped := auth.ClientWrapper(a, c.opts...)(out)
		for kind, send := range map[string]func() error{
			"Call":    func() error { return wrapped.Call(c.ctx, nil, nil) },
			"Publish": func() error { return wrapped.Publish(c.ctx, nil) },
			"Stream":  func() error { _, err := wrapped.Stream(c.ctx, nil); return err },
		} {
			if err := send(); err != nil {
				t.Fatal(err)
			}
			want := "Bearer " + c.want
			if c.want == "" {
				want = ""
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
			err := auth.ClientWrapper(a)(&sent{err: raw}).Call(context.Background(), nil, nil)
			if !errors.Is(err, want) || !errors.Is(err, raw) || call.Code(err) != code || merrors.FromError(err).Detail != "because" {
				t.Errorf("%s %d: %v", stack, code, err)
			}
		}
	}
	other := errors.New("other")
	if err := auth.ClientWrapper(a)(&sent{err: other}).Call(context.Background(), nil, nil); err != other { //nolint:errorlint // it must be the same
		t.Errorf("got %v", err)
	}
}

// An own token that others refuse is replaced.
func TestRefusedOwnTokenIsRenewed(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	first, err := a.Token()
	if err != nil {
		t.Fatal(err)
	}
	c := auth.ClientWrapper(a)(&sent{err: merrors.Unauthorized("s", "no")})
	for range 100 {
		_ = c.Call(context.Background(), nil, nil)
	}
	rpctest.Eventually(t, "another token", func() bool { next, err := a.Token(); return err == nil && next != first })
	if n := w.srv.calls.Load(); n != 2 {
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
	if err := c.Call(context.Background(), nil, nil); err != nil || len(out.md) != 0 {
		t.Errorf("%v %v", err, out.md)
	}
	out.err = merrors.Unauthorized("s", "no token")
	if err := c.Call(context.Background(), nil, nil); !errors.Is(err, auth.ErrInvalidToken) || !errors.Is(err, auth.ErrUnavailable) {
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
			req, _ := http.NewRequest(http.MethodPost, "http://"+services[0].Nodes[0].Address, bytes.NewReader(body))
			req.Header.Set("Micro-Topic", rpctest.Topic)
			req.Header.Set("Content-Type", "application/json")
			rsp, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = rsp.Body.Close()
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
	t.Cleanup(func() { _ = l.Stop() })
	clients := []client.Wrapper{auth.ClientWrapper(a), trace.ClientWrapper(tr, nil), log.ClientWrapper(l)}
	handlers := []server.HandlerWrapper{auth.HandlerWrapper(a), trace.HandlerWrapper(tr, nil), log.HandlerWrapper(l)}
	for n, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		rpctest.Stacks(t, func(t *testing.T, stack string) {
			var cw []client.Wrapper
			var hw []server.Option
			for _, i := range order {
				cw, hw = append(cw, clients[i]), append(hw, server.WrapHandler(handlers[i]))
			}
			name := fmt.Sprint("order", n, stack)
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

// RFC 6750: letters, digits and seven others.
func TestCharactersOfTokens(t *testing.T) {
	for c := range 256 {
		_, ok := auth.Carrier{}.FromHeader(map[string]string{"authorization": "Bearer a" + string([]byte{byte(c)})})
		want := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~+/=", rune(c)) && c < 128
		if ok != want {
			t.Errorf("%q: %v", rune(c), ok)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add("authorization", "Bearer abc")
	f.Add("Authorization", "bearer a.b.c")
	f.Add("AUTHORIZATION", "Bearer a\r\nb")
	f.Add("authorızation", "Bearer")
	f.Fuzz(func(t *testing.T, key, value string) {
		var c auth.Carrier
		token, ok := c.FromHeader(map[string]string{key: value})
		if !ok {
			return
		}
		if strings.ContainsAny(token.AccessToken+token.TokenType, "\r\n\x00 ,;\"") || token.AccessToken == "" || len(token.AccessToken) > auth.MaxToken {
			t.Fatalf("%q", token.AccessToken)
		}
		again, ok := c.FromHeader(c.NewHeader(map[string]string{"AuthorizatioN": "x", "other": "1"}, token))
		if !ok || again.AccessToken != token.AccessToken || again.TokenType != token.TokenType {
			t.Fatalf("%+v became %+v", token, again)
		}
	})
}
