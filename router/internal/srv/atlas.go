package srv

import (
	"context"
	"errors"
	"sync"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
)

// atlas is what the registry says. Nothing that holds a lock waits for the
// registry: it reads what is known, and has what is not looked for.
type atlas struct {
	cache  *regcache.Cache
	wanted chan string

	mu      sync.Mutex
	unknown map[string]unknown
}

// unknown is a service that was looked for in vain.
type unknown struct {
	answered bool // the registry said that there is none
	again    time.Time
}

const (
	maxWanted  = 256
	maxUnknown = 10_000
	// lookAgain is how long a service that comes to the registry anew can stay
	// unseen.
	lookAgain = time.Second
)

func newAtlas(c *regcache.Cache) *atlas {
	return &atlas{cache: c, wanted: make(chan string, maxWanted), unknown: make(map[string]unknown)}
}

// nodes returns what is known; stale tells that nothing is because the registry
// did not answer, or was not asked yet.
func (a *atlas) nodes(service string) (s *regcache.Snapshot, stale bool) {
	if s = a.cache.Known(service); s != nil {
		return s, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return nil, !a.unknown[service].answered
}

// find asks the registry for a service that is not known.
func (a *atlas) find(service string) {
	if a.cache.Known(service) != nil {
		return
	}
	_, err := a.cache.Snapshot(service)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.unknown, service)
		return
	}
	if len(a.unknown) >= maxUnknown {
		clear(a.unknown) // asked for again by who still wants them
	}
	a.unknown[service] = unknown{errors.Is(err, registry.ErrNotFound), time.Now().Add(lookAgain)}
}

// want has a service looked for, unless it just was. When there is no room it
// is wanted again.
func (a *atlas) want(service string) {
	a.mu.Lock()
	again := a.unknown[service].again
	a.mu.Unlock()
	if time.Now().Before(again) {
		return
	}
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
