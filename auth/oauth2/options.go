package oauth2

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/clean"
)

// Option changes an Auth that is being made.
type Option func(*options)

type options struct {
	issuer, audience, service string
	id, secret                string
	scopes, types, algs       []string
	rules                     []auth.Rule
	introspect                time.Duration
	client                    *http.Client
	logger                    *slog.Logger
	params                    url.Values
}

// Id is the client id of the service at the provider. Without one there is no
// own token, and tokens are only verified.
func Id(id string) Option { return func(o *options) { o.id = id } }

// Secret is the secret of the client.
func Secret(secret string) Option { return func(o *options) { o.secret = secret } }

// Scopes is what the own token is asked to hold.
func Scopes(scopes ...string) Option { return func(o *options) { o.scopes = scopes } }

// Param adds a parameter to requests for the own token: some providers want
// "audience" or "resource".
func Param(key, value string) Option { return func(o *options) { o.params.Add(key, value) } }

// Service is the name of this service in rules, its Id unless given.
func Service(name string) Option { return func(o *options) { o.service = name } }

// Types are the typ headers of access tokens, "at+jwt" (RFC 9068) unless given.
// Some providers write "JWT", which their id tokens do as well: those are then
// told by their claims.
func Types(types ...string) Option { return func(o *options) { o.types = types } }

// Algorithms are those that may sign, of EdDSA, ES256, RS256 and PS256: all of
// them unless given. What the provider announces narrows them further.
func Algorithms(algs ...string) Option { return func(o *options) { o.algs = algs } }

// Rules decide calls, as those of go.micro.srv.auth do; without any, every good
// token may do everything.
func Rules(rules ...auth.Rule) Option { return func(o *options) { o.rules = rules } }

// Introspection has the provider asked about each token (RFC 7662), and its
// answer believed for as long: one second to an hour. It is the only way to
// verify tokens that are no JWTs, and to hear of revocations. A call whose token
// is new, or was not asked about for so long, waits for the answer.
func Introspection(believe time.Duration) Option { return func(o *options) { o.introspect = believe } }

// Client is what the provider is called with; unless given, one with a timeout
// that follows no redirects.
func Client(c *http.Client) Option { return func(o *options) { o.client = c } }

// Logger is told when the provider is out of reach and back, slog.Default()
// unless given.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(issuer, audience string, opts []Option) options {
	o := options{
		issuer: issuer, audience: audience, types: []string{"at+jwt", "application/at+jwt"},
		algs: []string{jwt.EdDSA, jwt.ES256, jwt.RS256, jwt.PS256}, params: url.Values{},
	}
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	if o.service == "" {
		o.service = o.id
	}
	if o.client == nil {
		o.client = &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	for i, t := range o.types {
		o.types[i] = strings.ToLower(t)
	}
	return o
}

func (o *options) validate() error {
	bad := func(option, why string) error {
		return fmt.Errorf("auth/oauth2: option %s: %w: %s", option, auth.ErrInvalid, why)
	}
	u, err := url.Parse(o.issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return bad("issuer", "must be an http or https URL without query")
	case !clean.Name(o.audience, 256):
		return bad("audience", "must be 1 to 256 printable bytes")
	case (o.id == "") != (o.secret == ""):
		return bad("Secret", "Id and Secret go together")
	case !clean.Name(o.service, 256):
		return bad("Service", "must be 1 to 256 printable bytes when there is no Id")
	case o.introspect != 0 && (o.introspect < time.Second || o.introspect > time.Hour):
		return bad("Introspection", "must be one second to one hour")
	case o.introspect != 0 && o.id == "":
		return bad("Introspection", "needs Id and Secret")
	case len(o.types) == 0 || slices.Contains(o.types, ""):
		return bad("Types", "must name some")
	}
	for _, a := range o.algs {
		if !slices.Contains([]string{jwt.EdDSA, jwt.ES256, jwt.RS256, jwt.PS256}, a) {
			return bad("Algorithms", fmt.Sprintf("%.16q is none of EdDSA, ES256, RS256, PS256", a))
		}
	}
	return nil
}
