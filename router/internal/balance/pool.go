package balance

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/registry"
)

// Pool is the nodes of one service and what is known of them. All methods are
// safe for concurrent use; Pick, Begin, Done and End do not lock unless a node
// changes sides.
type Pool struct {
	conf    *Config
	table   atomic.Pointer[table]
	typical atomic.Uint32 // float32: what a latency nobody knows is taken for

	mu       sync.Mutex
	loads    map[string]*Load // by node id, of nodes that left too for a while
	members  []*Member        // of the nodes that are there
	draining []*Member
	policy   *Policy
	unready  map[string]bool
	ticked   int64
	dirty    bool // the table is out of date
}

// Candidate is a node that is registered.
type Candidate struct {
	Node     *registry.Node
	Owner    *registry.Service // its version; only what is not nodes is read
	Draining bool
}

// ZoneKey is the node metadata that names its zone.
const ZoneKey = "zone"

// keepGone is how long a node that left is remembered.
const keepGone = time.Minute

// New returns a pool without nodes. The Config must be filled.
func New(c *Config) *Pool {
	p := &Pool{conf: c, loads: make(map[string]*Load)}
	p.typical.Store(math.Float32bits(float32(time.Millisecond)))
	p.table.Store(p.newTable(0))
	return p
}

func (p *Pool) typicalLatency() float32 { return math.Float32frombits(p.typical.Load()) }

// Typical returns the mean latency of the nodes.
func (p *Pool) Typical() time.Duration { return time.Duration(p.typicalLatency()) }

// Update replaces the nodes and the policy.
func (p *Pool) Update(candidates []Candidate, policy *Policy) {
	now := p.conf.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	here := make(map[string]bool, len(candidates))
	p.members, p.draining, p.policy = make([]*Member, 0, len(candidates)), nil, policy
	before := p.table.Load()
	for _, c := range candidates {
		if here[c.Node.Id] {
			continue // one id in two versions: the first
		}
		here[c.Node.Id] = true
		m := p.member(c, before)
		if c.Draining {
			p.draining = append(p.draining, m)
		} else {
			p.members = append(p.members, m)
		}
	}
	for id, l := range p.loads {
		switch {
		case here[id]:
			l.gone = 0
		case l.gone == 0:
			l.gone = now
		case now-l.gone > int64(keepGone):
			delete(p.loads, id)
		}
	}
	p.rebuild(now)
}

func (p *Pool) member(c Candidate, before *table) *Member {
	l := p.loads[c.Node.Id]
	if old := before.byID[c.Node.Id]; l == nil || old != nil && old.Node.Address != c.Node.Address {
		l = p.newLoad()
		p.loads[c.Node.Id] = l
	}
	m := &Member{Node: c.Node, Load: l, Version: c.Owner.Version, owner: c.Owner, Zone: c.Node.Metadata[ZoneKey], Weight: 1}
	if p.policy != nil {
		if w := p.policy.Nodes[c.Node.Id].Weight; w > 0 {
			m.Weight = min(w, 1)
		}
	}
	return m
}

// Ready asks which nodes say that they are not.
func (p *Pool) Ready(notReady func(id string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var unready map[string]bool
	for _, m := range p.members {
		if notReady(m.Node.Id) {
			if unready == nil {
				unready = make(map[string]bool)
			}
			unready[m.Node.Id] = true
		}
	}
	if !maps.Equal(unready, p.unready) {
		p.unready = unready
		p.rebuild(p.conf.Now())
	}
}

// Tick does what time brings: averages, verdicts, probations. Call it every
// 100 ms or so.
func (p *Pool) Tick() {
	now := p.conf.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	dt := time.Duration(now - p.ticked)
	if p.ticked == 0 || dt <= 0 {
		p.ticked = now
		return
	}
	p.ticked = now
	var sum, n float32
	for _, members := range [...][]*Member{p.members, p.draining} {
		for _, m := range members {
			l := m.Load
			l.count(now, dt, p)
			p.advance(l, now)
			if latency, _ := unpack(l.latency.Load()); latency > 0 && l.phase.Load() == closed {
				sum, n = sum+latency, n+1
			}
		}
	}
	if n > 0 {
		p.typical.Store(math.Float32bits(sum / n))
	}
	p.judge(now)
	if p.dirty || p.table.Load().expires <= now {
		p.rebuild(now)
	}
}

// Reset forgets loads, failures and ejections.
func (p *Pool) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.loads)
	p.members, p.draining = p.fresh(p.members), p.fresh(p.draining)
	p.rebuild(p.conf.Now())
}

// fresh returns the members with new loads.
func (p *Pool) fresh(members []*Member) []*Member {
	all := make([]*Member, len(members))
	for i, m := range members {
		f := *m
		f.Load = p.newLoad()
		p.loads[m.Node.Id] = f.Load
		all[i] = &f
	}
	return all
}

// Find returns the member of a node id, or nil.
func (p *Pool) Find(id string) *Member { return p.table.Load().byID[id] }

// Known reports whether the pool has any node, draining or not.
func (p *Pool) Known() bool { return len(p.table.Load().byID) > 0 }

// Each calls do for every node, draining or not.
func (p *Pool) Each(do func(*Member)) {
	for _, m := range p.table.Load().byID {
		do(m)
	}
}

// Services returns the nodes that take calls by version, for filters. The
// slice and all it points to must not be changed.
func (p *Pool) Services() []*registry.Service { return p.table.Load().services }

// Keyed reports whether a policy looks at labels.
func (p *Pool) Keyed() bool { return p.table.Load().keyed }

// Divided reports whether a sticky key matters.
func (p *Pool) Divided() bool {
	t := p.table.Load()
	return t.keyed || len(t.versions) > 1
}

// Begin notes that a call to m begins. Timed tells that nobody will tell how
// long it took: it is then guessed from the calls in flight.
func (p *Pool) Begin(m *Member, timed bool) {
	if timed {
		m.Load.begin(p.conf.Now())
		return
	}
	m.Load.begin(0)
}

// End notes that a call to m is over, and its outcome unless Done told it.
func (p *Pool) End(m *Member, o Outcome, timed bool) {
	now := int64(0)
	if timed {
		now = p.conf.Now()
	}
	if !m.Load.end(now) {
		p.Tell(m, o, 0, now)
	}
}

// Done tells the outcome of a call to m of which End is still to come: it took
// d and ended now.
func (p *Pool) Done(m *Member, o Outcome, d time.Duration, now int64) {
	m.Load.told()
	p.Tell(m, o, d, now)
}

// Stream counts streams that are open (+1) and closed (-1).
func (p *Pool) Stream(m *Member, n int32) { m.Load.streams.Add(n) }

// Tell tells the outcome of something that is not a call in flight. Now counts
// only with a duration.
func (p *Pool) Tell(m *Member, o Outcome, d time.Duration, now int64) {
	l := m.Load
	switch o {
	case OK:
		if d > 0 {
			l.answered(now, d, p.conf.Decay)
		}
		l.window.Add(1)
		if l.streak.Load() != 0 {
			l.streak.Store(0)
		}
	case Failed, Unreached:
		if d > 0 { // failing fast is not a merit
			if latency, _ := unpack(l.latency.Load()); latency > 0 && float32(d) > latency {
				l.observe(now, d, p.conf.Decay)
			}
		}
		l.window.Add(1<<32 | 1)
		l.streak.Add(1)
	case Refused:
		l.window.Add(1)
		l.refused.Add(1)
	case Void:
	}
	if l.phase.Load() != closed || o == Unreached || o == Failed && int(l.streak.Load()) >= p.conf.Consecutive {
		p.reconsider(l, o)
	}
}

// reconsider is the way of outcomes that may move a breaker.
func (p *Pool) reconsider(l *Load, o Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.conf.Now()
	phase := l.phase.Load()
	switch o {
	case OK:
		if l.wins++; phase != closed && l.wins >= wantedWins {
			p.readmit(l, now)
		}
		l.probing.Store(0)
	case Failed, Unreached:
		l.wins = 0
		if phase == open {
			return // it is out, or would be but for panic
		}
		reason := "failed in a row"
		if l.unreached = o == Unreached; l.unreached {
			reason = "unreachable"
		} else if phase == halfOpen {
			reason = "failed on probation"
		}
		p.eject(l, now, reason)
	default:
		l.probing.Store(0)
	}
	if p.dirty {
		p.rebuild(now)
	}
}

// Lost returns the nodes that were unreachable and are ejected, to be dialled
// until Found.
func (p *Pool) Lost() []*registry.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost []*registry.Node
	for _, m := range p.members {
		if m.Load.unreached && m.Load.phase.Load() == open {
			lost = append(lost, m.Node)
		}
	}
	return lost
}

// Found puts a lost node on probation.
func (p *Pool) Found(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.conf.Now()
	if l := p.loads[id]; l != nil && l.unreached && l.phase.Load() == open {
		p.probation(l, now)
		p.rebuild(now)
	}
}
