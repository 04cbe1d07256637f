package main

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/clean"
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
	return &locks{consul: u}, clean.URLError(err)
}

// newSync returns a Sync whose leases are renewed while the gate is open, and
// what to call after its Stop.
func (l *locks) newSync(g *memory.Gate, opts ...sync.Option) (_ sync.Sync, end func() error, err error) {
	if l.memory != nil {
		return l.memory.NewGatedSync(g, opts...), func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(l.consul)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.Wait(r.Context()) == nil {
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
