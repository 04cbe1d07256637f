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

// change has an option edit what is in the context of auth's.
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

// Resource has a token asked for each service that is called, by a parameter of
// the request that the provider knows, "resource" (RFC 8707) or "audience", with
// what of returns for the name of the service or auth.TopicAudience of a topic: how
// the provider writes it. auth.Audience is then what it writes for this service.
// Without this option the own token is one for all: auth.Audience of the services
// that are called, each of whom can use it with the others. It needs a provider
// that exchanges tokens (RFC 8693) where auth.Forward sends the caller's.
func Resource(parameter string, of func(audience string) string) auth.Option {
	return change(func(o *own) { o.parameter, o.resource = parameter, of })
}

// Types sets the typ headers of access tokens, "at+jwt" (RFC 9068) unless given.
// Some providers write "JWT", which their id tokens do as well: those are then
// told by their claims.
func Types(types ...string) auth.Option {
	return change(func(o *own) {
		o.types = make([]string, len(types))
		for i, t := range types {
			o.types[i] = strings.ToLower(t)
		}
	})
}

// Algorithms sets those that may sign, of EdDSA, ES256, RS256 and PS256: all of
// them unless given. What the provider announces narrows them further.
func Algorithms(algs ...string) auth.Option { return change(func(o *own) { o.algs = algs }) }

// Rules sets what decides calls, as those of go.micro.srv.auth do; without any, every good
// token may do everything.
func Rules(rules ...auth.Rule) auth.Option { return change(func(o *own) { o.rules = rules }) }

// Introspection has the provider asked about each token (RFC 7662), and its
// answer believed for as long: one second to an hour. It is the only way to
// verify tokens that are no JWTs, and to hear of revocations. A call whose token
// is new, or was not asked about for so long, waits for the answer.
func Introspection(believe time.Duration) auth.Option {
	return change(func(o *own) { o.introspect = believe })
}

// HTTPClient sets what the provider is called with; unless given, one with a timeout
// that follows no redirects.
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
