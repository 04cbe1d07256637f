package auth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// However many calls are made, a token is asked for once per callee.
func TestOneTokenPerCallee(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	out := &sent{}
	c := auth.ClientWrapper(a)(out)
	call := func() {
		for _, service := range []string{"shop.stock", "shop.prices"} {
			if err := c.Call(t.Context(), to(service), nil); err != nil || out.md["authorization"] == "" {
				t.Fatal(err, out.md)
			}
		}
		if err := c.Publish(t.Context(), about("news")); err != nil || out.md["authorization"] == "" {
			t.Fatal(err, out.md)
		}
	}
	call()
	before := w.srv.calls.Load()
	for range 1000 {
		call()
	}
	if n := w.srv.calls.Load() - before; n != 0 {
		t.Errorf("%d requests for tokens by warm calls", n)
	}
	for _, audience := range []string{"shop.stock", "shop.prices", "topic:news", auth.ServiceName} {
		if n := w.srv.askedFor(audience); n != 1 {
			t.Errorf("a token for %s was asked for %d times", audience, n)
		}
	}
}

// discarded is a client that sends nothing.
type discarded struct{ client.Client }

func (*discarded) Call(context.Context, client.Request, any, ...client.CallOption) error { return nil }

// A warm call costs no memory that it did not cost when one token was for all.
func TestWarmWrapperAllocations(t *testing.T) {
	w := newWorld(t).up()
	count := func(opts ...auth.Option) float64 {
		c := auth.ClientWrapper(w.started(opts...))(&discarded{})
		ctx, req := context.Background(), to("shop.stock")
		return testing.AllocsPerRun(1000, func() { _ = c.Call(ctx, req, nil) }) // it returns nil
	}
	if each, one := count(), count(auth.Audience("go-platform")); each > one || each > 1 {
		t.Errorf("%v allocations with a token for each service, %v with one for all", each, one)
	}
}

// The token for a callee is refreshed in the background, before it ends.
func TestTokenOfACalleeIsRefreshed(t *testing.T) {
	w := newWorld(t)
	w.srv.lifetime = 10
	w.up()
	source := w.started().(auth.Source)
	first, err := source.TokenFor("shop.stock")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	rpctest.Eventually(t, "another token", func() bool {
		next, err := source.TokenFor("shop.stock")
		if err != nil {
			t.Fatalf("there was a gap: %v", err)
		}
		return next != first
	})
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("only after %v", took)
	}
}

// A revocation of the account replaces the tokens for all callees.
func TestRevokedTokensOfCalleesAreReplaced(t *testing.T) {
	w := newWorld(t).up()
	source := w.started().(auth.Source)
	first, err := source.TokenFor("shop.stock")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	w.srv.tell(&pb.WatchResponse{Revocations: []*pb.Revocation{{Account: "shop.orders", Before: now + 1, ExpiresAt: now + 900}}})
	rpctest.Eventually(t, "another token", func() bool { next, err := source.TokenFor("shop.stock"); return err == nil && next != first })
}

// A fleet of which some know one audience for all.
func TestOneAudienceForAll(t *testing.T) {
	w := newWorld(t).up()
	const all = "go-platform"
	a, strict := w.started(auth.Audience(all)), w.started()
	out := &sent{}
	c := auth.ClientWrapper(a)(out)
	for _, service := range []string{"shop.stock", "shop.prices"} {
		if err := c.Call(t.Context(), to(service), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.srv.askedFor(all); n != 1 {
		t.Errorf("asked for it %d times", n)
	}
	for name, token := range map[string]string{"for all": w.issuer.Token("a", map[string]any{"aud": all}), "for the service": w.issuer.Token("a", nil)} {
		if _, err := authorize(a, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := authorize(strict, token); (err == nil) != (name == "for the service") {
			t.Errorf("%s, without the option: %v", name, err)
		}
	}
	// The issuer is shown a token for itself, as ever.
	if w.srv.askedFor(auth.ServiceName) == 0 {
		t.Error("no token for the issuer was asked for")
	}
}

// What a plugin serves beside a server, under the server's name with ".kv", is
// behind the same wrappers. Attack: whoever registers that name, to be sent tokens
// for it, opens the server with them.
func TestNameWithKV(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	for _, c := range []struct {
		audience, method string
		ok               bool
	}{
		{"shop.orders.kv", "KV.Link", true}, {"shop.orders.kv", "KV.Exchange", true}, {"shop.orders", "KV.Link", true},
		{"shop.orders.kv", "Orders.Place", false}, {"shop.orders.kv", "", false}, {"shop.orders.kv", "KVX.Link", false},
		{"shop.orders.kvx", "KV.Link", false}, {"shop.orders.x", "KV.Link", false}, {"shop", "KV.Link", false}, {"topic:shop.orders.kv", "KV.Link", false},
	} {
		token := w.issuer.Token("b", map[string]any{"aud": c.audience})
		ctx := a.NewContext(t.Context(), &auth.Token{AccessToken: token})
		if _, err := a.Authorized(ctx, request{"shop.orders", c.method}); (err == nil) != c.ok {
			t.Errorf("%s for %s: %v", c.audience, c.method, err)
		}
	}
}

// A client asks what the other side would say of its own token; what somebody
// else sent for another service is not a question of that kind.
func TestAuthorizedForAnotherService(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	ask := func(token string) error {
		_, err := a.Authorized(a.NewContext(t.Context(), &auth.Token{AccessToken: token}), request{"shop.stock", "Stock.Reserve"})
		return err
	}
	mine, err := a.(auth.Source).TokenFor("shop.stock")
	if err != nil || ask(mine.AccessToken) != nil {
		t.Errorf("its own: %v", err)
	}
	if err := ask(w.issuer.Token("b", map[string]any{"aud": "shop.stock"})); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("another's: %v", err)
	}
	if err := ask(w.issuer.Token("shop.orders", map[string]any{"aud": "shop.prices"})); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("its own for yet another: %v", err)
	}
}

// Attack: a service uses the token that it was sent, and a subscriber the one
// of a message, to call others as who sent it.
func TestReceivedTokensOpenNothing(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t).up()
		gateway, orders, stock := w.started(auth.Id("shop.gateway")), w.started(), w.started(auth.Id("shop.stock"))
		w.guarded(stack, "shop.stock", stock)
		stolen := make(chan string, 2)
		thief := w.guarded(stack, "shop.orders", orders)
		thief.Forward = func(ctx context.Context) error {
			token, _ := auth.TokenFromContext(ctx)
			stolen <- token.AccessToken
			return nil
		}
		c := w.Client(stack, auth.ClientWrapper(gateway))
		if _, err := echo.NewEchoService("shop.orders", c).Call(t.Context(), &echo.Request{}); err != nil {
			t.Fatal(err)
		}
		mine, err := gateway.(auth.Source).TokenFor(auth.TopicAudience(rpctest.Topic))
		if err != nil {
			t.Fatal(err)
		}
		stolen <- mine.AccessToken // what every subscriber of the topic sees
		thief.Forward = nil
		plain := w.Client(stack)
		for range 2 {
			token := &auth.Token{AccessToken: <-stolen}
			ctx := metadata.NewContext(t.Context(), gateway.NewHeader(nil, token))
			if _, err := echo.NewEchoService("shop.stock", plain).Call(ctx, &echo.Request{}); call.Code(err) != 401 {
				t.Errorf("shop.stock took it: %v", err)
			}
		}
	})
}
