package memory

import (
	"context"
	stdsync "sync"

	"github.com/micro/go-platform/sync/internal/queue"
)

// Gate holds up a process at its coordination server, as a pause of the process
// or a cut network would. The zero value is open. It is safe for concurrent use.
type Gate struct {
	mu     stdsync.Mutex
	closed chan struct{} // closed when the gate opens; nil while it is open
}

// Shut closes the gate.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

// Open lets through the calls that wait, and all that come later.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// Wait returns nil once the gate is open, or the context's error when the
// context ends first.
func (g *Gate) Wait(ctx context.Context) error {
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

type gated struct {
	queue.Store
	gate *Gate
}

func (s gated) Renew(ctx context.Context, lease string) error {
	if err := s.gate.Wait(ctx); err != nil {
		return err
	}
	return s.Store.Renew(ctx, lease)
}
