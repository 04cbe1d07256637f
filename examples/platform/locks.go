package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	stdsync "sync"
	"time"

	"github.com/micro/go-platform/internal/queue"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/memory"
)

// locks is where the schedulers elect a leader: at Consul if that is the
// registry, else within this process.
type locks struct {
	consul *url.URL
	memory *memory.Server
}

func newLocks(c settings) (*locks, error) {
	if c.registry != "consul" {
		return &locks{memory: memory.NewServer()}, nil
	}
	address, _, _ := strings.Cut(cmp.Or(c.registryAddress, os.Getenv("CONSUL_HTTP_ADDR"), "127.0.0.1:8500"), ",")
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	return &locks{consul: u}, err
}

// newSync returns a Sync whose leases are renewed while the gate is open, and
// what to call after its Stop.
func (l *locks) newSync(g *gate, opts ...sync.Option) (_ sync.Sync, end func() error, err error) {
	if l.memory != nil {
		return queue.New(gatedStore{l.memory.Store(), g}, sync.NewOptions(opts...), nil), func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(l.consul)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.wait(r.Context()) == nil {
			proxy.ServeHTTP(w, r)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	end = func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
	return consul.NewSync(append(opts, sync.Nodes(listener.Addr().String()))...), end, nil
}

// leaseTTL is how long a leader that is paused stays one: as short as it can be.
func (l *locks) leaseTTL() time.Duration {
	if l.memory != nil {
		return 2 * time.Second
	}
	return 10 * time.Second
}

type gatedStore struct {
	queue.Store
	gate *gate
}

func (s gatedStore) Renew(ctx context.Context, lease string) error {
	if err := s.gate.wait(ctx); err != nil {
		return err
	}
	return s.Store.Renew(ctx, lease)
}

// gate lets through unless it is shut. The zero value is open.
type gate struct {
	mu     stdsync.Mutex
	closed chan struct{} // closed when it opens; nil while it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.closed)
	g.closed = nil
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed == nil {
		return nil
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
