package guard

// InUse returns the bytes that are in flight, and how many connections and peers
// are known.
func (g *Guard) InUse() (bytes int64, conns, peers int) {
	g.budgets.mu.Lock()
	defer g.budgets.mu.Unlock()
	return g.budgets.used, len(g.budgets.conns), len(g.budgets.peers)
}
