package auth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

// world is a network with a go.micro.srv.auth on it that does as it is told.
type world struct {
	*rpctest.Net
	t      *testing.T
	issuer *authtest.Issuer
	srv    *authority
	stop   func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Net: rpctest.New(t), t: t, issuer: authtest.NewIssuer(t)}
	w.issuer.Audience = place.service
	w.srv = &authority{issuer: w.issuer, changed: make(chan struct{}), lifetime: 900}
	return w
}

// up starts go.micro.srv.auth.
func (w *world) up() *world {
	w.t.Helper()
	s := w.Server(rpctest.GRPC, auth.ServiceName)
	if err := errors.Join(pb.RegisterOauth2Handler(s, &oauth2Handler{authority: w.srv}), pb.RegisterPolicyHandler(s, &policyHandler{authority: w.srv})); err != nil {
		w.t.Fatal(err)
	}
	end := make(chan struct{})
	w.srv.mu.Lock()
	w.srv.end = end
	w.srv.mu.Unlock()
	stop := w.Start(s)
	w.stop = sync.OnceFunc(func() { close(end); stop() })
	w.t.Cleanup(w.stop)
	return w
}

func (w *world) auth(opts ...auth.Option) auth.Auth {
	w.t.Helper()
	a := auth.NewAuth(append([]auth.Option{
		auth.Id("shop.orders"), auth.Secret("s3cret"), auth.Client(w.Client(rpctest.GRPC)), auth.Logger(w.Logger),
	}, opts...)...)
	w.t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			w.t.Error(err)
		}
	})
	return a
}

// started returns an Auth that knows the keys.
func (w *world) started(opts ...auth.Option) auth.Auth {
	w.t.Helper()
	a := w.auth(opts...)
	if err := a.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.knows(a)
	return a
}

func (w *world) knows(a auth.Auth) {
	w.t.Helper()
	rpctest.Eventually(w.t, "the keys are known", func() bool {
		_, err := authorize(a, w.issuer.Token("nobody", map[string]any{"aud": a.(interface{ ServiceName() string }).ServiceName()}))
		return err == nil || errors.Is(err, auth.ErrForbidden)
	})
}

type request struct{ service, method string }

func (r request) Service() string { return r.service }
func (r request) Method() string  { return r.method }

var place = request{"shop.orders", "Orders.Place"}

func authorize(a auth.Auth, token string) (*auth.Token, error) {
	return a.Authorized(a.NewContext(context.Background(), &auth.Token{AccessToken: token}), place)
}

// authority is what the fake go.micro.srv.auth knows.
type authority struct {
	issuer   *authtest.Issuer
	lifetime int
	fail     atomic.Int32 // code that Token fails with
	calls    atomic.Int32 // of Token
	watches  atomic.Int32
	slow     atomic.Int64 // ns that Token takes

	mu      sync.Mutex
	asked   []string // for which audiences, in order
	rules   []*pb.Rule
	revoked []*pb.Revocation
	changes []*pb.WatchResponse
	changed chan struct{}
	end     chan struct{}
	reports []*pb.PolicyReportRequest
	deaf    int                                      // reports that are refused for now
	resume  func(*pb.WatchRequest) *pb.WatchResponse // the first message; nil: everything
}

// tell sends a change to all who watch.
func (a *authority) tell(change *pb.WatchResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if change.Rules != nil {
		a.rules = change.Rules.Rules
	}
	a.revoked = append(a.revoked, change.Revocations...)
	a.changes = append(a.changes, change)
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *authority) setRules(rules ...*pb.Rule) {
	a.tell(&pb.WatchResponse{Rules: &pb.Rules{Rules: rules}})
}

func (a *authority) ask(audience string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, audience)
}

// askedFor returns how often a token for the audience was asked for.
func (a *authority) askedFor(audience string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.asked {
		if one == audience {
			n++
		}
	}
	return n
}

type oauth2Handler struct {
	pb.Oauth2Handler
	*authority
}

func (h *oauth2Handler) Token(ctx context.Context, req *pb.TokenRequest, rsp *pb.TokenResponse) error {
	h.calls.Add(1)
	select {
	case <-time.After(time.Duration(h.slow.Load())):
	case <-ctx.Done():
	}
	if code := h.fail.Load(); code == 429 {
		return rpcerr.To(auth.ServiceName, rpcerr.ErrLimited)
	} else if code != 0 || req.ClientSecret != "s3cret" {
		return rpcerr.To(auth.ServiceName, rpcerr.ErrUnauthenticated)
	}
	h.ask(strings.Join(req.Audience, " "))
	now := time.Now().Unix()
	subject := req.ClientId
	if req.SubjectToken != "" {
		subject = subjectOf(req.SubjectToken)
	}
	token := h.issuer.Token(subject, map[string]any{
		"client_id": req.ClientId, "iat": now, "exp": now + int64(h.lifetime), "scope": strings.Join(req.Scopes, " "), "aud": req.Audience,
	})
	rsp.Token = &pb.Token{AccessToken: token, TokenType: "Bearer", ExpiresAt: now + int64(h.lifetime), Scopes: req.Scopes}
	return nil
}

// subjectOf returns the sub of a token.
func subjectOf(token string) string {
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(token+"..", ".")[1]) // what is none has no sub
	var c struct{ Sub string }
	_ = json.Unmarshal(payload, &c) // as above
	return c.Sub
}

func (h *oauth2Handler) Introspect(ctx context.Context, req *pb.IntrospectRequest, rsp *pb.IntrospectResponse) error {
	if !hasBearer(ctx) {
		return rpcerr.To(auth.ServiceName, rpcerr.ErrUnauthenticated)
	}
	rsp.Active = !strings.Contains(req.AccessToken, "~inactive")
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.revoked {
		rsp.Active = rsp.Active && r.Jti != "*"
	}
	return nil
}

func (h *oauth2Handler) Revoke(ctx context.Context, req *pb.RevokeRequest, _ *pb.RevokeResponse) error {
	md, _ := metadata.FromContext(ctx)
	if md["authorization"] != "Bearer "+req.AccessToken {
		return rpcerr.To(auth.ServiceName, rpcerr.ErrForbidden)
	}
	return nil
}

type policyHandler struct {
	pb.PolicyHandler
	*authority
}

func hasBearer(ctx context.Context) bool {
	md, _ := metadata.FromContext(ctx)
	return strings.HasPrefix(md["authorization"], "Bearer ey")
}

func (h *policyHandler) Report(_ context.Context, req *pb.PolicyReportRequest, _ *pb.PolicyReportResponse) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deaf > 0 {
		h.deaf--
		return rpcerr.To(auth.ServiceName, rpcerr.ErrLimited)
	}
	h.reports = append(h.reports, req)
	return nil
}

func (h *policyHandler) Watch(ctx context.Context, req *pb.WatchRequest, stream pb.Policy_WatchStream) error {
	if !hasBearer(ctx) {
		return rpcerr.To(auth.ServiceName, rpcerr.ErrUnauthenticated)
	}
	h.watches.Add(1)
	h.mu.Lock()
	first := &pb.WatchResponse{Reset_: true, Issuer: authtest.IssuerName, Jwks: h.issuer.Keys(), Rules: &pb.Rules{Rules: h.rules}, Revocations: h.revoked}
	if h.resume != nil {
		if is := h.resume(req); is != nil {
			first = is
		}
	}
	next, changed, end := len(h.changes), h.changed, h.end
	h.mu.Unlock()
	if err := stream.Send(first); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case <-changed:
		}
		h.mu.Lock()
		more := h.changes[next:]
		next, changed = len(h.changes), h.changed
		h.mu.Unlock()
		for _, change := range more {
			if err := stream.Send(change); err != nil {
				return err
			}
		}
	}
}

// clock is a wall clock that jumps.
type clock struct{ jump atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.jump.Load())) }
