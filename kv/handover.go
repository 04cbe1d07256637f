package kv

import (
	"context"
	"slices"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	pb "github.com/micro/go-platform/kv/proto"
)

// install makes what is known of the members the view, and finds out whether it
// is stable. removed says that the others went on without this member: what it
// keeps is of the past.
func (p *platform) install(removed bool) {
	p.views.Lock()
	defer p.views.Unlock()
	if p.ended {
		return
	}
	now := p.view.Load()
	nodes := p.members.nodes()
	digest := digestOf(nodes, p.options.Replicas)
	if removed {
		p.records.cache.Clear()
	}
	if now == nil || now.digest != digest || removed {
		next := newView(digest, nodes, p.members.self.id, p.options.Replicas, now)
		if now != nil && !removed {
			next.prev = now.prev
		}
		p.installing.Lock()
		p.view.Store(next)
		p.installing.Unlock()
		p.prolong(next)
		p.prune(next)
		poke(p.changed)
		poke(p.probeNow)
		return
	}
	if !now.stable && p.synced.Load() == now.digest && p.members.agreed(now.digest) {
		stable := *now
		stable.stable, stable.prev = true, &stable
		p.view.Store(&stable)
		p.members.settled()
	}
	p.prolong(now)
}

// lease is how long this member may answer for a view.
type lease struct {
	digest uint64
	until  time.Time
}

// prolong is called by install.
func (p *platform) prolong(v *view) {
	l := &lease{v.digest, time.Time{}}
	if v.self >= 0 {
		l.until = p.members.lease(v.nodes)
	}
	p.lease.Store(l)
}

func (l *lease) holds(v *view) bool {
	return l != nil && l.digest == v.digest && time.Now().Before(l.until)
}

// prune forgets the connections to those that left.
func (p *platform) prune(v *view) {
	p.mu.Lock()
	var left []*peer
	for n, to := range p.peers {
		if !slices.Contains(v.nodes, n) {
			delete(p.peers, n)
			left = append(left, to)
		}
	}
	p.mu.Unlock()
	for _, to := range left {
		to.close()
	}
}

func (p *platform) peer(n node) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	to, ok := p.peers[n]
	if !ok {
		timeout := min(p.options.Timeout, p.options.Suspicion)
		to = &peer{
			address: n.address, service: p.service, options: p.to(n.address, timeout), timeout: timeout,
			namespace: p.options.Namespace, linkAge: p.linkAge, spawn: p.spawn,
		}
		p.peers[n] = to
	}
	return to
}

// handOver brings items to their new owners whenever the view is another.
func (p *platform) handOver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		v := p.view.Load()
		if v == nil || v.stable || p.synced.Load() == v.digest {
			continue
		}
		if !p.push(ctx, v) {
			if !lifecycle.Sleep(ctx, p.interval()/5) {
				return
			}
			poke(p.changed)
			continue
		}
		p.synced.Store(v.digest)
		p.install(false)
		poke(p.probeNow)
	}
}

// parcel collects what goes to one member.
type parcel struct {
	ops  []*pb.Op
	size int
}

// push hands all items to the owners that may lack them, and tells whether all
// arrived.
func (p *platform) push(ctx context.Context, v *view) bool {
	parcels := make([]parcel, len(v.nodes))
	whole := true
	var keys []string
	p.records.cache.Range(func(key string, _ *record) (drop, more bool) {
		if len(v.heirs(slotOf(key))) > 0 {
			keys = append(keys, key)
		}
		return false, true
	})
	for _, key := range keys {
		if p.digest() != v.digest || ctx.Err() != nil {
			return false
		}
		r := p.records.read(key, true)
		if r == nil {
			continue // evicted
		}
		for _, to := range v.heirs(slotOf(key)) {
			x := &parcels[to]
			op := &pb.Op{Kind: pb.Op_WRITE, Record: r}
			x.ops, x.size = append(x.ops, op), x.size+opSize(op)
			if x.size > maxMessage/2 || len(x.ops) == maxOps {
				whole = p.deliver(ctx, v, int(to), x) && whole
			}
		}
	}
	for to := range parcels {
		if len(parcels[to].ops) > 0 {
			whole = p.deliver(ctx, v, to, &parcels[to]) && whole
		}
	}
	return whole && p.digest() == v.digest
}

func (p *platform) deliver(ctx context.Context, v *view, to int, x *parcel) bool {
	done := make(chan error, 1)
	p.peer(v.nodes[to]).send(0, x.ops, func(_ []*pb.Result, err error) { done <- err })
	*x = parcel{}
	select {
	case err := <-done:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

// reap frees what has expired, forgets what was deleted once all members have
// seen it, and drops what is not owned any more.
func (p *platform) reap(ctx context.Context) {
	for lifecycle.Sleep(ctx, ReaperEvent) {
		v := p.view.Load()
		if v == nil {
			return
		}
		retention := time.Duration(0)
		if v.stable {
			retention = max(time.Minute, 6*p.options.Suspicion)
		}
		p.records.reap(retention, func(key string) bool { return !v.stable || v.self < 0 || v.ring.owns(slotOf(key), v.self) })
	}
}
