package routersrv

import (
	"context"
	"errors"
	"sync"

	"go-micro.dev/v5/registry"

	"github.com/micro/go-platform/internal/regcache"
)

// atlas is what the registry says. Nothing that holds a lock waits for the
// registry: it reads what is known, and has what is not looked for.
type atlas struct {
	cache  *regcache.Cache
	wanted chan string

	mu     sync.Mutex
	failed map[string]bool // services that the registry did not answer about
}

const (
	maxWanted = 256
	maxFailed = 10_000
)

func newAtlas(c *regcache.Cache) *atlas {
	return &atlas{cache: c, wanted: make(chan string, maxWanted), failed: make(map[string]bool)}
}

// nodes returns what is known; stale tells that nothing is because the registry
// did not answer.
func (a *atlas) nodes(service string) (s *regcache.Snapshot, stale bool) {
	if s = a.cache.Known(service); s != nil {
		return s, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return nil, a.failed[service]
}

// find asks the registry for a service that is not known.
func (a *atlas) find(service string) {
	if a.cache.Known(service) != nil {
		return
	}
	_, err := a.cache.Snapshot(service)
	failed := err != nil && !errors.Is(err, registry.ErrNotFound)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failed, service)
	if failed && len(a.failed) < maxFailed {
		a.failed[service] = true
	}
}

// want has a service looked for; when there is no room it is wanted again.
func (a *atlas) want(service string) {
	select {
	case a.wanted <- service:
	default:
	}
}

func (a *atlas) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case service := <-a.wanted:
			a.find(service)
		}
	}
}
