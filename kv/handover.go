package kv

import (
	"context"
	"slices"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	pb "github.com/micro/go-platform/kv/proto"
)

// install makes what is known of the members the view, and finds out how far it
// is. When the others went on without this member, what it keeps is of the past.
func (p *platform) install() {
	p.views.Lock()
	defer p.views.Unlock()
	if p.ended {
		return
	}
	now := p.view.Load()
	nodes, removed := p.members.nodes()
	digest := digestOf(nodes, p.options.Replicas)
	if now == nil || now.digest != digest || removed {
		next := newView(digest, nodes, p.members.self.id, p.options.Replicas, now)
		if now != nil && !removed {
			next.since, next.handed = now.since, now.handed
		}
		next.meets = !slices.ContainsFunc(next.since, func(r *roster) bool { return !p.meet(r.ring.replicas, next.ring.replicas) })
		p.replace(next, removed)
		p.members.moved(digest)
		p.prolong(next)
		p.prune(next)
		poke(p.changed)
		poke(p.probeNow)
		return
	}
	switch own := p.members.state(); {
	case now.stable:
	case own.settled != digest:
		if own.synced == digest && p.members.allSynced(now) {
			poke(p.changed)
		}
	case p.members.allSettled(now):
		stable := *now
		stable.stable, stable.since, stable.handed = true, []*roster{now.roster}, nil
		p.show(&stable)
		p.members.stable()
	}
	p.prolong(now)
}

// replace waits for the operations of the last view.
func (p *platform) replace(next *view, empty bool) {
	p.installing.Lock()
	defer p.installing.Unlock()
	if empty {
		p.records.cache.Clear()
	}
	p.show(next)
}

// show makes v the view of all calls.
func (p *platform) show(v *view) {
	p.members.electorate(v.since)
	p.view.Store(v)
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
		to.close(errOtherView)
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
		to.ctx, to.cancel = context.WithCancel(context.Background())
		p.peers[n] = to
	}
	return to
}

// handOver brings items to their new owners whenever the view is another, and
// settles when all members have done so.
func (p *platform) handOver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		v := p.view.Load()
		switch own := p.members.state(); {
		case v == nil || own.view != v.digest || own.settled == v.digest:
			continue
		case own.synced != v.digest:
			if !p.push(ctx, v) {
				if !lifecycle.Sleep(ctx, p.interval()/5) {
					return
				}
				poke(p.changed)
				continue
			}
			p.handed(v)
		case p.members.allSynced(v):
			p.settle(v)
		}
		p.install()
		poke(p.probeNow)
	}
}

// handed tells the others that they have what was here.
func (p *platform) handed(v *view) {
	p.advance(v, func() {
		now := *p.view.Load()
		now.handed = append(slices.Clip(now.handed), v.roster)
		p.show(&now)
		p.members.synced(v.digest)
	})
}

// settle drops the items that others own and have now, and only then says that it is
// settled.
func (p *platform) settle(v *view) {
	p.records.cache.Range(func(key string, _ *record) (drop, more bool) {
		// What comes with another view comes after that is installed.
		same := p.has(v)
		return same && !v.ring.owns(slotOf(key), v.self), same
	})
	p.advance(v, func() {
		settled := *p.view.Load()
		settled.since = append(slices.Clip(settled.since), v.roster)
		p.show(&settled)
		p.members.settle(v.digest)
	})
}

// has reports whether the view is still this one. One that came back after another
// has the digest of before, and is not the same.
func (p *platform) has(v *view) bool {
	now := p.view.Load()
	return now != nil && now.roster == v.roster
}

// advance takes the next step of a view if it is still this one.
func (p *platform) advance(v *view, step func()) {
	p.views.Lock()
	defer p.views.Unlock()
	if p.has(v) {
		step()
	}
}

// parcel collects what goes to one member.
type parcel struct {
	ops  []*pb.Op
	size int
}

// push hands all items to the owners that may lack them, and reports whether all
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
		if !p.has(v) || ctx.Err() != nil {
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
	return whole && p.has(v)
}

func (p *platform) deliver(ctx context.Context, v *view, to int, x *parcel) bool {
	done := make(chan error, 1)
	p.peer(v.nodes[to]).send(v.digest, x.ops, func(_ []*pb.Result, err error) { done <- err })
	*x = parcel{}
	select {
	case err := <-done:
		return err == nil
	case <-ctx.Done():
		return false
	}
}
