// Package rpc is how plugins reach our services. The services speak go-micro's
// grpc stack, the user's client often does not; Acquire turns whatever client
// the user passed into one that fits.
package rpc

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
)

// MaxMessage bounds the messages that our services and their clients accept,
// in bytes.
const MaxMessage = 16 << 20

// DefaultTimeout bounds a call whose caller gave no deadline.
const DefaultTimeout = 5 * time.Second

// Acquire returns a client that can call our services. A grpc client is used as
// it is: its size limits and TLS settings are its owner's. Any other lends its
// registry and broker to a grpc client of ours, one per registry and TLS
// configuration in the whole process, closed when the last holder called
// release. What panics in the user's code is an error. That client is behind the wrappers that c was made with
// (client.Wrap, client.WrapCall) and the one that c Carries; other wrappers
// around c cannot be seen in c. A nil client stands for client.DefaultClient;
// when that finds no node its errors say that no client was given. Acquire does
// no I/O.
func Acquire(c client.Client, tlsConfig *tls.Config) (_ client.Client, release func()) {
	if c == nil {
		made, release := Acquire(client.DefaultClient, tlsConfig)
		return defaulted{made, client.DefaultClient.Options().Registry.String()}, release
	}
	if c.String() == "grpc" {
		return guarded{c}, func() {}
	}
	o := c.Options()
	made, release := shared.acquire(key{o.Registry, tlsConfig}, func() *Client {
		return NewClient(Config{Registry: o.Registry, Broker: o.Broker, TLS: tlsConfig})
	})
	made = wrapped(made, o)
	if w := carried(o); w != nil {
		made = w(made)
	}
	return guarded{made}, release
}

type carriedKey struct{}

// Carry returns options with a wrapper that Acquire puts around the client it
// makes from them, outside of those that they carry already. A wrapper that our
// services' calls shall pass through, as those of auth and trace, returns it
// from its Options method: it would get lost otherwise.
func Carry(o client.Options, w client.Wrapper) client.Options {
	if inner := carried(o); inner != nil {
		outer := w
		w = func(c client.Client) client.Client { return outer(inner(c)) }
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	o.Context = context.WithValue(o.Context, carriedKey{}, w)
	return o
}

func carried(o client.Options) client.Wrapper {
	if o.Context == nil {
		return nil
	}
	w, _ := o.Context.Value(carriedKey{}).(client.Wrapper)
	return w
}

// shared is mutable and global on purpose: twelve plugins that were given the
// same client share one set of connections.
var shared = &clients{held: make(map[key]*holders)} //nolint:gochecknoglobals // see above

type key struct {
	registry registry.Registry
	tls      *tls.Config
}

type holders struct {
	client *Client
	count  int
}

type clients struct {
	mu   sync.Mutex
	held map[key]*holders
}

func (p *clients) acquire(k key, make func() *Client) (client.Client, func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.held[k]
	if !ok {
		h = &holders{client: make()}
		p.held[k] = h
	}
	h.count++
	return h.client, sync.OnceFunc(func() { p.release(k, h) })
}

func (p *clients) release(k key, h *holders) {
	p.mu.Lock()
	h.count--
	last := h.count == 0
	if last {
		delete(p.held, k)
	}
	p.mu.Unlock()
	if last {
		h.client.Close()
	}
}

// Options are the call options of every call a plugin makes: the deadline, and
// up to three more tries when a node could not be reached or says that it is not
// available, on whatever node the selector names next. Nothing else is tried again, so that no side effect
// happens twice.
func Options(timeout time.Duration) []client.CallOption {
	return []client.CallOption{
		client.WithRequestTimeout(timeout),
		client.WithDialTimeout(timeout),
		client.WithRetries(3),
		client.WithRetry(retryUnreached),
		client.WithBackoff(func(context.Context, client.Request, int) (time.Duration, error) { return 0, nil }),
	}
}

func retryUnreached(ctx context.Context, _ client.Request, _ int, err error) (bool, error) {
	return WitnessOf(ctx).Unsent() || undone(call.Parse(err)), nil
}

// undone reports whether a server said that it is not available, or grpc that it has
// no connection. A call whose connection broke has the same code, and may have been
// done.
func undone(e *merrors.Error) bool {
	if e.Code != 503 || e.Id != "go.micro.client" {
		return e.Code == 503
	}
	why, ok := strings.CutPrefix(e.Detail, `connection error: desc = "`)
	return ok && slices.ContainsFunc([]string{"transport: Error while dialing", "transport: authentication handshake failed", "error reading server preface"},
		func(text string) bool { return strings.HasPrefix(why, text) })
}
