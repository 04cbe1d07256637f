// Package memory is sync within one process, for tests and examples.
package memory

import (
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/memstore"
	"github.com/micro/go-platform/sync/internal/queue"
)

// NewSync returns a Sync with a server of its own: nobody else contends.
func NewSync(opts ...sync.Option) sync.Sync { return NewServer().NewSync(opts...) }

// Server is what a coordination server is for others. Its locks are gone with
// the process.
type Server struct{ store *memstore.Server }

// NewServer returns an empty server.
func NewServer() *Server { return &Server{memstore.NewServer()} }

// NewSync returns a Sync that contends with the others of this server.
func (s *Server) NewSync(opts ...sync.Option) sync.Sync {
	return queue.New(s.store.Store(), sync.NewOptions(opts...), nil)
}

// NewGatedSync is NewSync for the test of a paused process: the Sync renews its
// leases only while the gate is open.
func (s *Server) NewGatedSync(g *Gate, opts ...sync.Option) sync.Sync {
	return queue.New(gated{s.store.Store(), g}, sync.NewOptions(opts...), nil)
}
