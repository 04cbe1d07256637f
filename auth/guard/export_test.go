package guard

import "time"

// InUse returns the bytes that are in flight, and how many connections and peers
// are known.
func (g *Guard) InUse() (bytes int64, conns, peers int) {
	g.budgets.mu.Lock()
	defer g.budgets.mu.Unlock()
	return g.budgets.used, len(g.budgets.conns), len(g.budgets.peers) + len(g.budgets.accounts)
}

// StrangersWithin sets how long a message of a caller without a token may take.
func StrangersWithin(d time.Duration) Option { return func(o *options) { o.stranger = d } }
