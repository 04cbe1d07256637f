package sqldb

import (
	"context"
	"database/sql"
	"sync"
)

// The bounds of what is kept prepared: a server counts statements times
// connections, and names of tables come from callers.
const (
	maxTables     = 16
	maxStatements = 24  // of a table, before searches are not kept
	maxKept       = 160 // of all tables, before the table used last longest ago is forgotten
)

// cache holds the prepared statements of the tables that were used last.
type cache struct {
	db *sql.DB

	mu     sync.Mutex
	tables map[string]*prepared
	clock  uint64
}

// prepared is the statements of one table, closed when it has left the cache
// and nobody uses it any more.
type prepared struct {
	db *sql.DB

	refs    int    // of cache.mu, like the next two
	used    uint64 // when
	evicted bool

	mu     sync.RWMutex
	byText map[string]*sql.Stmt
}

// use returns the statements of a table until done is called.
func (c *cache) use(table string) (p *prepared, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.tables[table]
	if p == nil {
		c.evict()
		p = &prepared{db: c.db, byText: make(map[string]*sql.Stmt)}
		c.tables[table] = p
	}
	c.clock++
	p.used = c.clock
	p.refs++
	return p, func() { c.release(p) }
}

// evict makes room for a table.
func (c *cache) evict() {
	for len(c.tables) >= maxTables || c.kept() > maxKept-maxStatements {
		oldest := ""
		for name, p := range c.tables {
			if oldest == "" || p.used < c.tables[oldest].used {
				oldest = name
			}
		}
		c.drop(oldest)
	}
}

// kept counts the statements of all tables.
func (c *cache) kept() (n int) {
	for _, p := range c.tables {
		p.mu.RLock()
		n += len(p.byText)
		p.mu.RUnlock()
	}
	return n
}

// forget drops all: the server has as many statements as it may.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.tables {
		c.drop(name)
	}
}

func (c *cache) drop(name string) {
	p := c.tables[name]
	delete(c.tables, name)
	p.evicted = true
	if p.refs == 0 {
		p.close()
	}
}

func (c *cache) release(p *prepared) {
	c.mu.Lock()
	p.refs--
	last := p.evicted && p.refs == 0
	c.mu.Unlock()
	if last {
		p.close()
	}
}

// get returns a statement that the caller must not close.
func (p *prepared) get(ctx context.Context, text string) (*sql.Stmt, error) {
	s, _, err := p.prepare(ctx, text, 0)
	return s, err
}

// search returns the statement of a search, of which callers can ask for many
// kinds: those that come late are not kept. Done closes them.
func (p *prepared) search(ctx context.Context, text string) (s *sql.Stmt, done func(), err error) {
	s, kept, err := p.prepare(ctx, text, maxStatements)
	if err != nil || kept {
		return s, func() {}, err
	}
	return s, func() { _ = s.Close() }, nil // the rows have been read
}

// prepare keeps the statement unless there are as many as bound, if that is
// not 0.
func (p *prepared) prepare(ctx context.Context, text string, bound int) (s *sql.Stmt, kept bool, err error) {
	p.mu.RLock()
	s = p.byText[text]
	p.mu.RUnlock()
	if s != nil {
		return s, true, nil
	}
	s, err = p.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.byText[text]; known != nil {
		_ = s.Close() // another was quicker
		return known, true, nil
	}
	if bound > 0 && len(p.byText) >= bound {
		return s, false, nil
	}
	p.byText[text] = s
	return s, true, nil
}

func (p *prepared) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.byText {
		_ = s.Close() // whether the server still knew it does not matter
	}
	clear(p.byText)
}
