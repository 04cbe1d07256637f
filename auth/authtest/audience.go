package authtest

import (
	"context"
	"testing"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
)

// The topic of the suite, and a service that is not the suite's.
const (
	Topic = "suite.news"
	Other = "suite-other"
)

type message struct {
	server.Message
	header map[string]string
}

func (message) Topic() string               { return Topic }
func (m message) Header() map[string]string { return m.header }

// entrance is where a service is called and sent messages.
type entrance struct {
	t       *testing.T
	call    server.HandlerFunc
	receive server.SubscriberFunc
	seen    *auth.Token
}

func newEntrance(t *testing.T, a auth.Auth) *entrance {
	e := &entrance{t: t}
	saw := func(ctx context.Context) error { e.seen, _ = auth.TokenFromContext(ctx); return nil }
	e.call = auth.HandlerWrapper(a, auth.As(Service))(func(ctx context.Context, _ server.Request, _ any) error { return saw(ctx) })
	e.receive = auth.SubscriberWrapper(a, auth.As(Service))(func(ctx context.Context, _ server.Message) error { return saw(ctx) })
	return e
}

// code returns the code that a call, or a message, with the token ends with; 0
// means that it was let in.
func (e *entrance) code(token string, topic bool) int32 {
	md := metadata.Metadata{"authorization": "Bearer " + token}
	ctx := metadata.NewContext(context.Background(), md)
	var err error
	if topic {
		err = e.receive(ctx, message{header: md})
	} else {
		err = e.call(ctx, serverRequest{}, nil)
	}
	if err == nil {
		return 0
	}
	return merrors.FromError(err).Code
}

// RunAudience checks that an Auth whose tokens are for one service each sends
// nobody a token that another would take, and takes none that another was sent.
func RunAudience(t *testing.T, fresh func(t testing.TB, opts ...auth.Option) *Fixture) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, f *Fixture){
		"Taken": taken, "Sent": sent, "Exchanged": exchanged, "Kept": kept,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// A token for another service, for the issuer or for another kind is refused.
func taken(t *testing.T, f *Fixture) {
	f.ready(t)
	e := newEntrance(t, f.Auth)
	for audience, c := range map[string]struct{ call, message int32 }{
		Service: {0, 401}, Other: {401, 401}, Service + "x": {401, 401}, auth.ServiceName: {401, 401},
		auth.TopicAudience(Topic): {401, 0}, auth.TopicAudience(Topic + "x"): {401, 401}, auth.TopicAudience(Service): {401, 401},
	} {
		token := f.TokenFor(t, "suite.sender", audience)
		if got := e.code(token, false); got != c.call {
			t.Errorf("a call with a token for %s: %d, want %d", audience, got, c.call)
		}
		if got := e.code(token, true); got != c.message {
			t.Errorf("a message with a token for %s: %d, want %d", audience, got, c.message)
		}
	}
	own, err := f.Auth.Token()
	if err != nil || e.code(own.AccessToken, false) != 401 {
		t.Errorf("the token for the issuer is taken: %v", err)
	}
}

// outbox is a client that keeps what is sent.
type outbox struct {
	client.Client
	token string
}

func (o *outbox) Call(ctx context.Context, _ client.Request, _ any, _ ...client.CallOption) error {
	md, _ := metadata.FromContext(ctx)
	o.token = md["authorization"][len("Bearer "):]
	return nil
}

func (o *outbox) Publish(ctx context.Context, _ client.Message, _ ...client.PublishOption) error {
	return o.Call(ctx, nil, nil)
}

type clientMessage struct{ client.Message }

func (clientMessage) Topic() string { return Topic }

// Whoever is sent a token can use it nowhere else.
func sent(t *testing.T, f *Fixture) {
	f.ready(t)
	e, out := newEntrance(t, f.Auth), &outbox{}
	c := auth.ClientWrapper(f.Auth)(out)
	ctx := context.Background()
	if err := c.Call(ctx, clientRequest{service: Service}, nil); err != nil || e.code(out.token, false) != 0 || e.code(out.token, true) != 401 {
		t.Errorf("what a call sends: %v", err)
	}
	if err := c.Call(ctx, clientRequest{service: Other}, nil); err != nil || e.code(out.token, false) != 401 || e.code(out.token, true) != 401 {
		t.Errorf("what a call of another sends: %v", err)
	}
	if err := c.Publish(ctx, clientMessage{}); err != nil || e.code(out.token, false) != 401 || e.code(out.token, true) != 0 {
		t.Errorf("what a message carries: %v", err)
	}
	// The token for the issuer never leaves for anybody else.
	own, err := f.Auth.Token()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(f.Auth.NewContext(ctx, own), clientRequest{service: Service}, nil); err != nil || out.token == own.AccessToken || e.code(out.token, false) != 0 {
		t.Errorf("the token for the issuer was sent: %v", err)
	}
}

// A caller's token that travels along is exchanged at each hop.
func exchanged(t *testing.T, f *Fixture) {
	f.ready(t)
	e, out := newEntrance(t, f.Auth), &outbox{}
	x := f.Auth.(auth.Exchanger)
	user := &auth.Token{AccessToken: f.TokenFor(t, "suite.user", Service), TokenType: auth.Bearer}
	if same, err := x.Exchange(t.Context(), user, Service); err != nil || same.AccessToken != user.AccessToken {
		t.Errorf("for the service itself: %v", err)
	}
	forward := auth.ClientWrapper(f.Auth, auth.Forward())(out)
	if err := forward.Call(auth.WithToken(t.Context(), user), clientRequest{service: Other}, nil); err != nil {
		t.Fatal(err)
	}
	if out.token == user.AccessToken || e.code(out.token, false) != 401 {
		t.Error("the caller's token was sent on")
	}
	passed := &auth.Token{AccessToken: out.token, TokenType: auth.Bearer}
	back, err := x.Exchange(t.Context(), passed, Service) // which was given to this service
	if err != nil || e.code(back.AccessToken, false) != 0 || e.seen.Account() != "suite.user" || e.seen.Metadata["act"] != f.Own {
		t.Errorf("after two hops: %v, %v", e.seen, err)
	}
	for _, audience := range []string{Other, auth.ServiceName, auth.TopicAudience(Topic)} {
		stolen := &auth.Token{AccessToken: f.TokenFor(t, "suite.user", audience), TokenType: auth.Bearer}
		if made, err := x.Exchange(t.Context(), stolen, Service); err == nil {
			t.Errorf("one for %s was exchanged: %v", audience, made)
		}
	}
}

// A token is asked for once.
func kept(t *testing.T, f *Fixture) {
	f.ready(t)
	s := f.Auth.(auth.Source)
	for _, audience := range []string{Service, Other, auth.TopicAudience(Topic)} {
		first, err := s.TokenFor(audience)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.TokenFor(audience); err != nil || again.AccessToken != first.AccessToken {
			t.Errorf("%s: not kept: %v", audience, err)
		}
	}
	user := &auth.Token{AccessToken: f.TokenFor(t, "suite.user", Service), TokenType: auth.Bearer}
	x := f.Auth.(auth.Exchanger)
	first, err := x.Exchange(t.Context(), user, Other)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := x.Exchange(t.Context(), user, Other); err != nil || again.AccessToken != first.AccessToken {
		t.Errorf("an exchange is not kept: %v", err)
	}
}
