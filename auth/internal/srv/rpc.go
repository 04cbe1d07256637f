package srv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"google.golang.org/grpc/peer"

	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// oauthHandler is Oauth2 over RPC. Token and Authorize are sent through the HTTP
// handler, in process, so that both faces parse, check and answer alike.
type oauthHandler struct {
	*provider
	http     http.Handler
	insecure bool
}

func refuse(err error) error { return rpcerr.To(auth.ServiceName, err) }

func peerHost(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return peerOf(p.Addr.String())
	}
	return ""
}

// recorder keeps an answer in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

func (h *oauthHandler) do(ctx context.Context, method, path string, form url.Values) (*recorder, error) {
	for name, values := range form {
		if form[name] = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(form[name]) == 0 {
			delete(form, name)
		}
	}
	body, query := form.Encode(), ""
	if method == http.MethodGet {
		body, query = "", body
	}
	if len(body)+len(query) > maxBody {
		return nil, oauthStatus(http.StatusBadRequest, "invalid_request", "too large")
	}
	r, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if err != nil {
		return nil, refuse(err)
	}
	r.URL.RawQuery = query
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := &recorder{header: http.Header{}}
	h.http.ServeHTTP(w, r)
	if w.status >= http.StatusBadRequest {
		return nil, w.failure()
	}
	return w, nil
}

// oauthStatus makes an OAuth error what an RPC returns.
func oauthStatus(status int, code, description string) error {
	detail := code
	if description != "" {
		detail += ": " + description
	}
	return merrors.New(auth.ServiceName, detail, int32(status))
}

func (r *recorder) failure() error {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(r.body.Bytes(), &e); err != nil {
		return oauthStatus(r.status, "server_error", "")
	}
	return oauthStatus(r.status, e.Error, e.Description)
}

// Token implements pb.Oauth2Handler.
func (h *oauthHandler) Token(ctx context.Context, req *pb.TokenRequest, rsp *pb.TokenResponse) error {
	if err := checkPairs("metadata", req.Metadata, maxRequestKeys, maxRequest); err != nil {
		return refuse(err)
	}
	ctx = withCaller(ctx, caller{peer: peerHost(ctx), meta: req.Metadata, at: time.Now()})
	w, err := h.do(ctx, http.MethodPost, pathToken, url.Values{
		"client_id": {req.ClientId}, "client_secret": {req.ClientSecret}, "grant_type": {req.GrantType},
		"code": {req.Code}, "code_verifier": {req.CodeVerifier}, "redirect_uri": {req.RedirectUri},
		"refresh_token": {req.RefreshToken}, "scope": {strings.Join(req.Scopes, " ")},
		"subject_token": {req.SubjectToken}, "subject_token_type": {req.SubjectTokenType}, "audience": req.Audience,
	})
	if err != nil {
		return err
	}
	var t oidc.AccessTokenResponse
	if err := json.Unmarshal(w.body.Bytes(), &t); err != nil {
		return refuse(fmt.Errorf("read a token: %w", err))
	}
	c := &claims{}
	if err := jwt.Peek(t.AccessToken, c); err != nil {
		return refuse(fmt.Errorf("read a token: %w", err))
	}
	rsp.Token = wireToken(c)
	rsp.Token.AccessToken, rsp.Token.RefreshToken = t.AccessToken, t.RefreshToken
	return nil
}

func wireToken(c *claims) *pb.Token {
	return &pb.Token{TokenType: oidc.BearerToken, ExpiresAt: c.Expires, Scopes: c.scopes(), Metadata: c.metadata()}
}

// Authorize implements pb.Oauth2Handler.
func (h *oauthHandler) Authorize(ctx context.Context, req *pb.AuthorizeRequest, rsp *pb.AuthorizeResponse) error {
	token, ok := callerClaims(ctx)
	if !ok {
		return refuse(errToken)
	}
	w, err := h.do(withCaller(ctx, caller{peer: peerHost(ctx), user: token}), http.MethodGet, pathAuthorize, url.Values{
		"response_type": {req.ResponseType}, "client_id": {req.ClientId}, "scope": {strings.Join(req.Scopes, " ")},
		"state": {req.State}, "redirect_uri": {req.RedirectUri},
		"code_challenge": {req.CodeChallenge}, "code_challenge_method": {req.CodeChallengeMethod},
	})
	if err != nil {
		return err
	}
	to, err := url.Parse(w.header.Get("Location"))
	if err != nil {
		return refuse(fmt.Errorf("read a redirect: %w", err))
	}
	q := to.Query()
	if code := q.Get("error"); code != "" {
		return oauthStatus(http.StatusBadRequest, code, q.Get("error_description"))
	}
	rsp.Code, rsp.State = q.Get("code"), req.State
	return nil
}

// inquirer returns who calls. An insecure service takes everybody for an admin.
func (h *oauthHandler) inquirer(ctx context.Context) (inquirer, error) {
	if h.insecure {
		return inquirer{scopes: []string{ScopeAdmin}}, nil
	}
	c, ok := callerClaims(ctx)
	if !ok {
		return inquirer{}, errToken
	}
	a, err := h.store.Account(ctx, c.Subject)
	if err != nil {
		return inquirer{}, err
	}
	return byToken(c, a), nil
}

// Revoke implements pb.Oauth2Handler.
func (h *oauthHandler) Revoke(ctx context.Context, req *pb.RevokeRequest, _ *pb.RevokeResponse) error {
	if c, ok := about(ctx, req.AccessToken, false); ok && req.RefreshToken == "" {
		return refuse(h.revokeToken(ctx, c))
	}
	who, err := h.inquirer(ctx)
	if err != nil {
		return refuse(err)
	}
	if req.AccessToken == "" && req.RefreshToken == "" {
		return refuse(rpcerr.Invalid("access_token", "neither it nor refresh_token is given"))
	}
	for _, token := range []string{req.AccessToken, req.RefreshToken} {
		if token != "" {
			err = errors.Join(err, h.revoke(ctx, token, who))
		}
	}
	return refuse(err)
}

// Introspect implements pb.Oauth2Handler.
func (h *oauthHandler) Introspect(ctx context.Context, req *pb.IntrospectRequest, rsp *pb.IntrospectResponse) error {
	if c, ok := about(ctx, req.AccessToken, true); ok {
		rsp.Active, rsp.Token = true, wireToken(c)
		return nil
	}
	who, err := h.inquirer(ctx)
	if err != nil {
		return refuse(err)
	}
	if c, err := h.inspect(req.AccessToken, who); err == nil {
		rsp.Active, rsp.Token = true, wireToken(c)
	}
	return nil
}

// Keys implements pb.Oauth2Handler.
func (h *oauthHandler) Keys(_ context.Context, _ *pb.KeysRequest, rsp *pb.KeysResponse) error {
	rsp.Jwks, rsp.Issuer = h.feed.now.Load().keys.jwks, h.feed.issuer
	return nil
}

// errorParams is an OAuth error as a redirect carries it.
func errorParams(err error) url.Values {
	var e *oidc.Error
	if !errors.As(err, &e) {
		return url.Values{"error": {"server_error"}}
	}
	return url.Values{"error": {string(e.ErrorType)}, "error_description": {e.Description}}
}

// now is the present in seconds since 1970.
func now() int64 { return time.Now().Unix() }
