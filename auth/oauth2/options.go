package oauth2

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/auth/internal/policy"
	"github.com/micro/go-platform/auth/plugin"
	"github.com/micro/go-platform/internal/option"
)

// options are auth's and, below them, those that this plugin alone has.
type options struct {
	auth.Options
	own
}

type own struct {
	types, algs []string
	rules       []auth.Rule
	introspect  time.Duration
	http        *http.Client
	resource    func(audience string) string
	parameter   string
	params      url.Values
}

type ownKey struct{}

// change returns an option that edits what this plugin keeps in the Context of
// the Options.
func change(edit func(*own)) auth.Option {
	return func(o *auth.Options) {
		before, _ := o.Context.Value(ownKey{}).(own) // without any it is the zero value
		before.params = maps.Clone(before.params)
		edit(&before)
		o.Context = context.WithValue(o.Context, ownKey{}, before)
	}
}

// Param adds a parameter to requests for the own token: some providers want
// "audience" or "resource".
func Param(key, value string) auth.Option {
	return change(func(o *own) {
		if o.params == nil {
			o.params = url.Values{}
		}
		o.params[key] = append(slices.Clone(o.params[key]), value)
	})
}

// Resource makes the plugin ask for a token for each service that is called.
// parameter is the parameter of the request that the provider knows, "resource"
// (RFC 8707) or "audience". Its value is what of returns for the name of a
// service, or for auth.TopicAudience of a topic: the provider's name for it.
// auth.Audience is then the provider's name for this service.
//
// Without Resource there is one own token, for auth.Audience, and each service
// that is called can use it at the others. Where auth.Forward sends the tokens
// of callers, Resource needs a provider that exchanges tokens (RFC 8693).
func Resource(parameter string, of func(audience string) string) auth.Option {
	return change(func(o *own) { o.parameter, o.resource = parameter, of })
}

// Types sets the typ headers of access tokens. The default is "at+jwt" (RFC
// 9068). Some providers write "JWT", into their id tokens as well: the two are
// then told apart by their claims. A token is an access token if it has a claim
// client_id, scope or scp, or the claim typ "Bearer", and none of nonce, at_hash
// and c_hash. Of a provider that puts neither into the tokens of applications,
// as some do, those are refused: have it add a scope.
func Types(types ...string) auth.Option {
	return change(func(o *own) {
		o.types = make([]string, len(types))
		for i, t := range types {
			o.types[i] = strings.ToLower(t)
		}
	})
}

// Algorithms sets the algorithms that may sign, of EdDSA, ES256, RS256 and
// PS256. The default is all of them. What the provider announces narrows them
// further.
func Algorithms(algs ...string) auth.Option { return change(func(o *own) { o.algs = algs }) }

// Rules sets the rules that decide calls, as those of go.micro.srv.auth do.
// Without any, a good token may call everything but the platform's services,
// "go.micro.srv.*".
func Rules(rules ...auth.Rule) auth.Option { return change(func(o *own) { o.rules = rules }) }

// Introspection makes the plugin ask the provider about each token (RFC 7662)
// and believe the answer for the given time, from one second to an hour. It is
// the only way to verify tokens that are not JWTs, and to hear of revocations.
// A call whose token is new, or was not asked about for that long, waits for
// the answer, with a token that was good for a second at most: the last answer
// counts while the provider is away.
func Introspection(believe time.Duration) auth.Option {
	return change(func(o *own) { o.introspect = believe })
}

// HTTPClient sets the client that calls the provider. The default has a timeout
// and follows no redirects.
func HTTPClient(c *http.Client) auth.Option { return change(func(o *own) { o.http = c }) }

func newOptions(opts []auth.Option) options {
	o := options{Options: auth.NewOptions(append([]auth.Option{auth.Audience("")}, opts...)...)}
	o.own, _ = o.Context.Value(ownKey{}).(own) // none was given
	if o.types == nil {
		o.types = []string{"at+jwt", "application/at+jwt"}
	}
	if o.algs == nil {
		o.algs = []string{jwt.EdDSA, jwt.ES256, jwt.RS256, jwt.PS256}
	}
	if o.http == nil {
		o.http = &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return o
}

func (o *options) validate() error {
	c := option.Of("auth")
	c.That(o.Audience != "", "Audience", "missing")
	u, err := url.Parse(o.Issuer)
	c.That(err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.RawQuery == "" && u.Fragment == "" && u.User == nil,
		"Issuer", "%.140q is not an http or https URL without query and user", redacted(u))
	c.That(o.introspect == 0 || o.introspect >= time.Second && o.introspect <= time.Hour, "Introspection", "%v is not within 1s to 1h", o.introspect)
	c.That(o.introspect == 0 || o.Id != "", "Introspection", "needs Id and Secret")
	c.That(o.resource == nil || o.parameter == "resource" || o.parameter == "audience", "Resource", "%.64q is not resource or audience", o.parameter)
	c.That(len(o.types) > 0 && !slices.Contains(o.types, ""), "Types", "%.140q are not names", o.types)
	for _, a := range o.algs {
		c.That(slices.Contains([]string{jwt.EdDSA, jwt.ES256, jwt.RS256, jwt.PS256}, a), "Algorithms", "%.16q is not EdDSA, ES256, RS256 or PS256", a)
	}
	_, err = policy.Compile(plugin.Rules(o.rules...))
	c.That(err == nil, "Rules", "%v", err)
	return errors.Join(o.Validate(), c.Err())
}

func redacted(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Redacted()
}
