// Package consulagents is a client of Consul that goes to the next of several
// agents when one cannot be reached.
package consulagents

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/hashicorp/consul/api"
)

// NewClient returns a client of the agents at the addresses, by default
// 127.0.0.1:8500 or what the environment of Consul's own clients says, and a
// function that closes its idle connections.
func NewClient(addresses []string, tlsConfig *tls.Config) (*api.Client, func(), error) {
	c := api.DefaultConfig()
	if len(addresses) > 0 {
		c.Address = addresses[0]
	}
	transport := c.Transport
	if tlsConfig != nil {
		c.Scheme, transport.TLSClientConfig = "https", tlsConfig
	}
	c.HttpClient = &http.Client{Transport: &agents{addresses: addresses, next: transport}}
	client, err := api.NewClient(c)
	return client, transport.CloseIdleConnections, err
}

// agents sends requests to one of several agents, and to the next when one
// cannot be connected to. What was sent already is not sent again: it may have
// been done.
type agents struct {
	addresses []string
	current   atomic.Uint32
	next      *http.Transport
}

func (a *agents) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(a.addresses) < 2 {
		return a.next.RoundTrip(r)
	}
	var rsp *http.Response
	err := errors.New("no address")
	for range a.addresses {
		at := a.current.Load()
		to := r.Clone(r.Context())
		to.URL.Host, to.Host = a.addresses[int(at)%len(a.addresses)], ""
		if r.Body != nil && r.GetBody != nil {
			if to.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		rsp, err = a.next.RoundTrip(to)
		if err == nil {
			return rsp, nil
		}
		if !errors.Is(err, context.Canceled) {
			a.current.CompareAndSwap(at, at+1) // also when it hangs: the next request goes elsewhere
		}
		var dial *net.OpError
		if !errors.As(err, &dial) || dial.Op != "dial" || r.Context().Err() != nil || r.Body != nil && r.GetBody == nil {
			return nil, err
		}
	}
	return nil, err
}
