// Package fence keeps holders of lost locks from a resource. Whoever writes
// shows the token of the lock it holds; the resource remembers the highest it
// has seen and refuses lower ones.
//
// The scheme is that of M. Burrows, "The Chubby lock service for
// loosely-coupled distributed systems", OSDI 2006 (sequencers).
package fence

import (
	"fmt"
	"sync"

	"github.com/micro/go-platform/internal/rpcerr"
)

// ErrStale is the error of a token below one that was seen already.
var ErrStale = rpcerr.ErrStale

// Guard belongs to one resource. The zero value is ready and accepts every
// token. It is safe for concurrent use; a resource that outlives its process
// keeps Highest with its data and gives it to At.
type Guard struct {
	mu      sync.Mutex
	highest uint64
}

// At returns a guard that has seen token.
func At(token uint64) *Guard { return &Guard{highest: token} }

// Do calls f unless the token is stale. Calls of f do not overlap, and no f
// runs after one with a higher token.
func (g *Guard) Do(token uint64, f func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if token < g.highest {
		return fmt.Errorf("%w: %d, have seen %d", ErrStale, token, g.highest)
	}
	g.highest = token
	return f()
}

// Check is Do without anything to do: right only where what follows cannot be
// overtaken, as within a transaction.
func (g *Guard) Check(token uint64) error { return g.Do(token, func() error { return nil }) }

// Highest returns the highest token seen.
func (g *Guard) Highest() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.highest
}
