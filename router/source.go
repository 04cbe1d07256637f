package router

import (
	"log/slog"
	"sync"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/regcache"
)

// source is where nodes come from: the registry, read through its own snapshots
// when it offers them and through a cache of ours otherwise.
type source struct {
	logger *slog.Logger
	mu     sync.RWMutex
	read   *regcache.Cache
	cache  *regcache.Cache // the same, nil when the registry has one
}

// replace reads another registry from now on.
func (s *source) replace(r registry.Registry) error {
	read := regcache.Of(r)
	var cache *regcache.Cache
	if read == nil {
		cache = regcache.New(r, regcache.Logger(s.logger))
		if err := cache.Start(); err != nil {
			return err
		}
		read = cache
	}
	s.mu.Lock()
	old := s.cache
	s.read, s.cache = read, cache
	s.mu.Unlock()
	if old != nil {
		return old.Stop()
	}
	return nil
}

// snapshot waits for the registry only when the service is not known yet.
func (s *source) snapshot(name string) (*regcache.Snapshot, error) {
	s.mu.RLock()
	read := s.read
	s.mu.RUnlock()
	return read.Snapshot(name)
}

func (s *source) close() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.cache == nil {
		return nil
	}
	return s.cache.Stop()
}
