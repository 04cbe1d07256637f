package policy

import "strings"

// list is a set of rules: bits in blocks of 64, in rising order, empty blocks
// left out.
type list []block

type block struct {
	bits uint64
	at   uint32 // rule at*64 is bit 0
}

// with returns l with rule i, which is none before the last.
func (l list) with(i int) list {
	at, bit := uint32(i/64), uint64(1)<<(i%64)
	if n := len(l); n > 0 && l[n-1].at == at {
		l[n-1].bits |= bit
		return l
	}
	return append(l, block{bit, at})
}

// cursor walks a list once.
type cursor struct {
	list list
	pos  int
}

func push(to []cursor, l list) []cursor {
	if len(l) == 0 {
		return to
	}
	return append(to, cursor{list: l})
}

// first returns the lowest block, not below at, that any of the cursors has.
func first(cursors []cursor, at uint32) (block uint32, found bool) {
	for i := range cursors {
		c := &cursors[i]
		for c.pos < len(c.list) && c.list[c.pos].at < at {
			c.pos++
		}
		if c.pos < len(c.list) && (!found || c.list[c.pos].at < block) {
			block, found = c.list[c.pos].at, true
		}
	}
	return block, found
}

// unite returns the rules of the block that any of the cursors has. Blocks must
// be asked for in rising order, of which some may be left out.
func unite(cursors []cursor, at uint32) (bits uint64) {
	for i := range cursors {
		c := &cursors[i]
		for c.pos < len(c.list) && c.list[c.pos].at < at {
			c.pos++
		}
		if c.pos < len(c.list) && c.list[c.pos].at == at {
			bits |= c.list[c.pos].bits
		}
	}
	return bits
}

// patterns finds the rules whose patterns fit a name.
type patterns struct {
	exact    map[string]list
	prefixes map[string]list
	// known is what find returns for the names of exact.
	known   map[string][]list
	longest int // of prefixes
}

func newPatterns() patterns {
	return patterns{exact: map[string]list{}, prefixes: map[string]list{}, known: map[string][]list{}}
}

func (p *patterns) add(rule int, names []string) {
	for _, name := range names {
		to := p.exact
		if begin, ok := prefix(name); ok {
			name, to = begin, p.prefixes
			p.longest = max(p.longest, len(name))
		}
		to[name] = to[name].with(rule)
	}
}

// link resolves the prefixes of all exact names.
func (p *patterns) link() {
	for name, l := range p.exact {
		lists := []list{l}
		p.fitting(name, func(l list) { lists = append(lists, l) })
		p.known[name] = lists
	}
}

// fitting calls f with the rules of each prefix of name. Prefixes end in a dot
// or are empty.
func (p *patterns) fitting(name string, f func(list)) {
	if l := p.prefixes[""]; len(l) > 0 {
		f(l)
	}
	for end := 0; end < p.longest; {
		dot := strings.IndexByte(name[end:], '.')
		if dot < 0 {
			return
		}
		end += dot + 1
		if l := p.prefixes[name[:end]]; len(l) > 0 {
			f(l)
		}
	}
}

func (p *patterns) find(to []cursor, name string) []cursor {
	if lists, ok := p.known[name]; ok {
		for _, l := range lists {
			to = append(to, cursor{list: l})
		}
		return to
	}
	p.fitting(name, func(l list) { to = append(to, cursor{list: l}) })
	return to
}
