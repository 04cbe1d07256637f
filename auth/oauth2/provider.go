package oauth2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	goauth2 "golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
)

const (
	timeout = 5 * time.Second // of one exchange with the provider
	maxBody = 1 << 20         // of what it answers
	// keysEvery is how often keys are read again when nothing calls for it.
	keysEvery = 10 * time.Minute
	// keysAgain bounds how often tokens of unknown keys can have them read.
	keysAgain = 10 * time.Second
	// keysFor is how long keys are believed while the provider is away: longer
	// than any token that they verify may live.
	keysFor = 2 * auth.MaxLifetime
)

// provider is what is known of the provider: immutable.
type provider struct {
	Issuer        string   `json:"issuer"`
	Token         string   `json:"token_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	Introspection string   `json:"introspection_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	Algs          []string `json:"id_token_signing_alg_values_supported"`

	keys *jwt.Keys
}

// discover reads the provider's metadata (OpenID Connect Discovery 1.0, else
// RFC 8414) and its keys.
func (a *Auth) discover(ctx context.Context) (*provider, time.Duration, error) {
	base := strings.TrimSuffix(a.opts.Issuer, "/")
	p := &provider{}
	err := a.get(ctx, base+"/.well-known/openid-configuration", p)
	if errors.Is(err, errStatus) {
		err = a.get(ctx, wellKnown(base), p)
	}
	if err != nil {
		return nil, 0, err
	}
	if err := p.check(a.opts.Issuer); err != nil {
		return nil, 0, err
	}
	var set json.RawMessage
	if err := a.get(ctx, p.JWKS, &set); err != nil {
		return nil, 0, err
	}
	p.keys, err = jwt.ParseKeys(set, a.expect(p))
	return p, keysFor, err
}

// wellKnown puts the well-known part between host and path (RFC 8414, section 3.1).
func wellKnown(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuer // validated before
	}
	u.Path = "/.well-known/oauth-authorization-server" + u.Path
	return u.String()
}

// check refuses metadata of another issuer, and endpoints that would take what
// is secret over a plain connection when the issuer's is not.
func (p *provider) check(issuer string) error {
	if p.Issuer != issuer {
		return fmt.Errorf("%w: the metadata is of another issuer", auth.ErrInvalid)
	}
	scheme, _, _ := strings.Cut(issuer, ":")
	for _, endpoint := range []string{p.Token, p.JWKS, p.Introspection, p.Revocation} {
		u, err := url.Parse(endpoint)
		if err != nil || endpoint != "" && u.Scheme != "https" && u.Scheme != scheme {
			return fmt.Errorf("%w: the metadata has an endpoint that is not %s", auth.ErrInvalid, scheme)
		}
	}
	if p.JWKS == "" {
		return fmt.Errorf("%w: the metadata has no jwks_uri", auth.ErrInvalid)
	}
	return nil
}

func (a *Auth) expect(p *provider) *jwt.Expect {
	algs := a.opts.algs
	if len(p.Algs) > 0 {
		algs = slices.DeleteFunc(slices.Clone(algs), func(alg string) bool { return !slices.Contains(p.Algs, alg) })
	}
	return &jwt.Expect{
		Issuer: p.Issuer, Audience: a.opts.Audience, AnyAudience: a.opts.resource != nil, Types: a.opts.types, Algs: algs, MaxLifetime: auth.MaxLifetime, Loose: a.loose,
	}
}

var errStatus = errors.New("the provider answered with another status")

// statusError is the errStatus that says which.
type statusError int

func (s statusError) Error() string        { return fmt.Sprintf("%v: %d", errStatus, int(s)) }
func (s statusError) Is(target error) bool { return target == errStatus }

func (a *Auth) get(ctx context.Context, from string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	return a.do(req, into)
}

// post sends a form in the client's name (RFC 6749, section 2.3.1).
func (a *Auth) post(ctx context.Context, to string, form url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(a.opts.Id), url.QueryEscape(a.opts.Secret))
	return a.do(req, into)
}

func (a *Auth) do(req *http.Request, into any) error {
	req.Header.Set("Accept", "application/json")
	rsp, err := a.opts.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	defer func() { _ = rsp.Body.Close() }() // it was read as far as it matters
	body, err := io.ReadAll(io.LimitReader(rsp.Body, maxBody))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	case rsp.StatusCode == http.StatusTooManyRequests:
		return auth.ErrLimited
	case rsp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: the provider does not take the client", auth.ErrInvalidToken)
	case rsp.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, statusError(rsp.StatusCode))
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: what the provider answered is not the JSON it should be", auth.ErrUnavailable)
	}
	return nil
}

// fetchToken gets the service's own token by client_credentials, for one
// audience or, when that is empty, for the provider's default.
func (a *Auth) fetchToken(ctx context.Context, audience string) (*auth.Token, time.Duration, error) {
	p, err := a.provider.Await(ctx)
	if err != nil {
		return nil, 0, err
	}
	params := maps.Clone(a.opts.params)
	var whom []string
	if audience != "" {
		whom = []string{a.resource(audience)}
		if params == nil {
			params = url.Values{}
		}
		params[a.opts.parameter] = whom
	}
	c := clientcredentials.Config{ClientID: a.opts.Id, ClientSecret: a.opts.Secret, TokenURL: p.Token, Scopes: a.opts.Scopes, EndpointParams: params}
	t, err := c.Token(context.WithValue(ctx, goauth2.HTTPClient, a.opts.http))
	if err != nil {
		return nil, 0, fmt.Errorf("own token: %w", refusal(err))
	}
	lifetime := time.Until(t.Expiry)
	if t.Expiry.IsZero() {
		lifetime = time.Hour // RFC 6749, section 5.1 leaves it to the provider
	}
	scopes := a.opts.Scopes
	if granted, ok := t.Extra("scope").(string); ok {
		scopes = jwt.Fields(granted)
	}
	return &auth.Token{AccessToken: t.AccessToken, TokenType: t.Type(), ExpiresAt: time.Now().Add(lifetime), Scopes: scopes, Audience: whom}, min(lifetime, auth.MaxLifetime), nil
}

// refusal keeps the code of the provider's error and leaves out its body, where
// a provider may repeat what it was sent.
func refusal(err error) error {
	var r *goauth2.RetrieveError
	switch {
	case !errors.As(err, &r):
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	case r.Response != nil && r.Response.StatusCode == http.StatusTooManyRequests:
		return auth.ErrLimited
	case r.ErrorCode != "":
		return fmt.Errorf("%w: %.64q", auth.ErrInvalidToken, r.ErrorCode)
	case r.Response != nil && r.Response.StatusCode < http.StatusInternalServerError:
		return fmt.Errorf("%w: %w", auth.ErrInvalidToken, errStatus)
	}
	return fmt.Errorf("%w: %w", auth.ErrUnavailable, errStatus)
}
