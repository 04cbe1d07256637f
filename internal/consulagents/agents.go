// Package consulagents is a client of Consul that goes to the next of several
// agents when one is of no use.
package consulagents

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
)

// NewClient returns a client of the agents at the addresses, by default
// 127.0.0.1:8500 or what the environment of Consul's own clients says, with an
// ACL token unless it is empty, and a function that closes idle connections.
//
// All clients of a process with the same TLS configuration have three connections to a
// server: one for calls, so that many at a time wait for each other, and two for
// blocking queries, which the caller bounds and which take turns.
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
	a := &agents{addresses: addresses, set: acquire(tlsConfig, c.TLSConfig, calls)}
	a.life, a.end = context.WithCancel(context.Background())
	h.Transport = a
	c.HttpClient = h
	client, err := api.NewClient(c)
	return client, a.set.idle, clean.URLError(err)
}

// Transport returns the connections that clients of NewClient have without a TLS
// configuration of their own, for a client that somebody else makes.
func Transport() (http.RoundTripper, error) {
	c := api.DefaultConfig()
	if _, err := api.NewHttpClient(c.Transport, c.TLSConfig); err != nil { // which sets the transport's TLS
		return nil, clean.URLError(err)
	}
	return acquire(nil, c.TLSConfig, c.Transport), nil
}

// Forbidden reports whether an error of the client says that its token may not.
func Forbidden(err error) bool {
	var e api.StatusError
	return errors.As(err, &e) && e.Code == http.StatusForbidden
}

// agents sends requests to one of several agents, and to the next when one
// cannot be connected to, does not answer, cannot reach its servers, or is none: what
// listens at its address is something else. What was sent already is not sent again
// unless it only reads: it may have been done.
type agents struct {
	addresses []string
	set       *set

	mu      sync.Mutex
	current int
	life    context.Context // of the current one, until it is given up
	end     context.CancelFunc
}

// RoundTrip implements http.RoundTripper.
func (a *agents) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(a.addresses) < 2 {
		return a.send(r)
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
		if !again(r, err) {
			return nil, err
		}
	}
	return nil, err
}

func (a *agents) send(r *http.Request) (*http.Response, error) {
	rsp, err := a.set.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return ofConsul(rsp)
}

// again reports whether a request that failed may be sent to the next agent.
func again(r *http.Request, err error) bool {
	var dial *net.OpError
	undone := errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, errNotConsul) && r.Method == http.MethodGet
	return undone && r.Context().Err() == nil && (r.Body == nil || r.GetBody != nil)
}

var errNotConsul = errors.New("what answers is not Consul")

// ofConsul returns an answer of Consul, or an error for one of something else, which
// a client could take for that of an empty or an obedient Consul. All of Consul's
// since version 1.9 have a header of its own.
func ofConsul(rsp *http.Response) (*http.Response, error) {
	for name := range rsp.Header {
		if strings.HasPrefix(name, "X-Consul-") {
			return rsp, nil
		}
	}
	_ = rsp.Body.Close() // of no interest
	return nil, fmt.Errorf("%s: %w: %s, %.64q", rsp.Request.URL.Host, errNotConsul, rsp.Status, rsp.Header.Get("Content-Type"))
}

// gaveUp reports whether a request ended by its caller, who may be in a hurry, and
// not by the bound of an answer.
func gaveUp(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), lifecycle.ErrNoAnswer)
}

func blocking(r *http.Request) bool { return r.URL.Query().Has("index") }

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
	return a.send(to)
}
