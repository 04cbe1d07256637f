package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Addrs are the servers of one service: fixed "host:port", of which the one that
// answered last is called until it cannot be reached, then the next; or, without
// any, wherever the client's selector finds them.
type Addrs struct {
	all  []string
	last atomic.Int64
}

// NewAddrs returns the servers at the addresses.
func NewAddrs(addresses ...string) *Addrs { return &Addrs{all: addresses} }

// IsAddress reports whether an address is host:port.
func IsAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return err == nil && host != "" && port != ""
}

// Acquire returns the client to call them with, as the function of this name
// does. Where addresses are fixed nil stands for a client that looks nothing up.
func (a *Addrs) Acquire(c client.Client, tlsConfig *tls.Config) (_ client.Client, release func()) {
	if len(a.all) == 0 || c != nil {
		return Acquire(c, tlsConfig)
	}
	own := NewClient(Config{Registry: memreg.New(), TLS: tlsConfig})
	return own, own.Close
}

// Call has f make one call, at one address after the other until one can be
// reached, with options that f must use. The errors are those of rpcerr.From.
func (a *Addrs) Call(ctx context.Context, doing string, timeout time.Duration, f func(...client.CallOption) error) error {
	if len(a.all) == 0 {
		return rpcerr.From(ctx, doing, f(Options(timeout)...))
	}
	var err error
	first := int(a.last.Load())
	for i := range a.all {
		at := (first + i) % len(a.all)
		opts := append(Options(timeout), client.WithRetries(0), client.WithAddress(a.all[at]))
		err = rpcerr.From(ctx, doing, f(opts...))
		if err == nil || !unreached(err) {
			a.last.Store(int64(at))
			return err
		}
		a.last.Store(int64(at+1) % int64(len(a.all))) // where the next call begins if ctx ends now
		if ctx.Err() != nil {
			return err
		}
	}
	return err
}

// At returns the fixed address to open a stream at: the one that answered last. It
// is empty when there is none.
func (a *Addrs) At() string {
	if len(a.all) == 0 {
		return ""
	}
	return a.all[int(a.last.Load())%len(a.all)]
}

// Leave makes the next address the first to be tried, because the stream to the
// given one ended. It does nothing when another is the first already.
func (a *Addrs) Leave(address string) {
	if at := a.last.Load(); address != "" && address == a.At() {
		a.last.CompareAndSwap(at, (at+1)%int64(len(a.all)))
	}
}

// unreached reports whether another server may do better.
func unreached(err error) bool {
	return errors.Is(err, rpcerr.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}
