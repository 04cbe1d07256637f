package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared lives as long as the test binary, like the servers in it; tests of a package have no other thing in
// common to keep them in.
var shared pool //nolint:gochecknoglobals // said above

type pool struct {
	mu      sync.Mutex
	servers map[string]*sharedServer
}

type sharedServer struct {
	once sync.Once
	inst *instance
	err  error
}

// get starts the server for the first that asks. A start that failed is not tried again: every test would
// wait for the same timeout.
func (p *pool) get(ctx context.Context, k kind, bin string, req request) (*instance, error) {
	p.mu.Lock()
	if p.servers == nil {
		p.servers = make(map[string]*sharedServer)
	}
	key := fmt.Sprintf("%s %q %q", k.name, req.args, req.env)
	s := p.servers[key]
	if s == nil {
		s = new(sharedServer)
		p.servers[key] = s
	}
	p.mu.Unlock()
	s.once.Do(func() { s.inst, s.err = launch(ctx, k, bin, req) })
	return s.inst, s.err
}

func (p *pool) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.servers {
		if s.inst != nil {
			errs = append(errs, s.inst.close())
		}
	}
	p.servers = nil
	return errors.Join(errs...)
}

// StopShared stops the servers that tests asked for with [Shared]. Most packages use [StopAfter] instead.
func StopShared() error { return shared.stop() }

// StopAfter wraps m so that the shared servers are stopped between the last test and whatever TestMain does
// next, which is commonly goleak's look for goroutines.
func StopAfter(m *testing.M) interface{ Run() int } { return stopper{m} }

type stopper struct{ m *testing.M }

func (s stopper) Run() int {
	code := s.m.Run()
	if err := StopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "backend: stop the shared servers:", err)
		return 1
	}
	return code
}
