// Package consulagents is a client of Consul that goes to the next of several
// agents when one is of no use.
package consulagents

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
)

// maxCalls bounds the connections for all but blocking queries: an agent refuses
// those above its limit (200 of one host), whatever they are for.
const maxCalls = 16

// NewClient returns a client of the agents at the addresses, by default
// 127.0.0.1:8500 or what the environment of Consul's own clients says, with an
// ACL token unless it is empty, and a function that closes its idle connections.
//
// Blocking queries, which the caller bounds, and renewals have connections of
// their own: a session shall not end because others wait or ask a lot.
func NewClient(addresses []string, tlsConfig *tls.Config, token string) (*api.Client, func(), error) {
	c := api.DefaultConfig()
	if len(addresses) > 0 {
		c.Address = addresses[0]
	}
	if token != "" {
		c.Token, c.TokenFile = token, ""
	}
	calls := c.Transport
	if tlsConfig != nil {
		c.Scheme, calls.TLSClientConfig = "https", tlsConfig
	}
	h, err := api.NewHttpClient(calls, c.TLSConfig)
	if err != nil {
		return nil, func() {}, clean.URLError(err)
	}
	a := &agents{addresses: addresses, calls: calls, waits: calls.Clone(), renewals: calls.Clone()}
	a.life, a.end = context.WithCancel(context.Background())
	calls.MaxConnsPerHost, calls.MaxIdleConnsPerHost = maxCalls, maxCalls
	h.Transport = a
	c.HttpClient = h
	client, err := api.NewClient(c)
	return client, a.idle, clean.URLError(err)
}

// Forbidden reports whether an error of the client says that its token may not.
func Forbidden(err error) bool {
	var e api.StatusError
	return errors.As(err, &e) && e.Code == http.StatusForbidden
}

// agents sends requests to one of several agents, and to the next when one
// cannot be connected to, does not answer, or cannot reach its servers. What was
// sent already is not sent again: it may have been done.
type agents struct {
	addresses              []string
	calls, waits, renewals *http.Transport

	mu      sync.Mutex
	current int
	life    context.Context // of the current one, until it is given up
	end     context.CancelFunc
}

func (a *agents) idle() {
	a.calls.CloseIdleConnections()
	a.waits.CloseIdleConnections()
	a.renewals.CloseIdleConnections()
}

func (a *agents) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(a.addresses) < 2 {
		return a.transport(r).RoundTrip(r)
	}
	err := errors.New("no address")
	for range a.addresses {
		var rsp *http.Response
		at, life := a.at()
		if rsp, err = a.ask(life, r, at); err == nil {
			if rsp.StatusCode >= http.StatusInternalServerError {
				a.leave(at) // it answers, but not for the servers
			}
			return rsp, nil
		}
		if gaveUp(r.Context()) {
			return nil, err
		}
		a.leave(at)
		var dial *net.OpError
		if !errors.As(err, &dial) || dial.Op != "dial" || r.Context().Err() != nil || r.Body != nil && r.GetBody == nil {
			return nil, err
		}
	}
	return nil, err
}

// gaveUp reports whether a request ended by its caller, who may be in a hurry, and
// not by the bound of an answer.
func gaveUp(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), lifecycle.ErrNoAnswer)
}

func blocking(r *http.Request) bool { return r.URL.Query().Has("index") }

func (a *agents) transport(r *http.Request) *http.Transport {
	switch {
	case blocking(r):
		return a.waits
	case strings.HasPrefix(r.URL.Path, "/v1/session/renew/"):
		return a.renewals
	}
	return a.calls
}

func (a *agents) at() (int, context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current, a.life
}

// leave goes to the next agent, and has those follow who wait at this one.
func (a *agents) leave(at int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != at {
		return
	}
	a.current++
	a.end()
	a.life, a.end = context.WithCancel(context.Background())
}

// ask sends a request to one agent. A blocking query ends when the agent is left.
func (a *agents) ask(life context.Context, r *http.Request, at int) (*http.Response, error) {
	ctx := r.Context()
	if blocking(r) {
		following, cancel := context.WithCancel(ctx) // the body is read with it
		defer context.AfterFunc(life, cancel)()
		ctx = following
	}
	to := r.Clone(ctx)
	to.URL.Host, to.Host = a.addresses[at%len(a.addresses)], ""
	if r.Body != nil && r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		to.Body = body
	}
	return a.transport(r).RoundTrip(to)
}
