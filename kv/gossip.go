package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/lifecycle"
	pb "github.com/micro/go-platform/kv/proto"
)

// interval is how often a member is probed.
func (p *platform) interval() time.Duration { return p.options.Suspicion / 10 }

// registered returns the nodes of the service, and whether this one is there.
func (p *platform) registered() (others []*registry.Node, _ error) {
	services, err := p.registry.GetService(p.name)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return nil, err
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			if n.Id != p.members.self.id {
				others = append(others, n)
				continue
			}
			p.members.mu.Lock()
			p.members.joined, p.members.self.address = true, n.Address
			p.members.mu.Unlock()
		}
	}
	return others, nil
}

func (p *platform) registeredIds() (ids []string, err error) {
	nodes, err := p.registered()
	for _, n := range nodes {
		ids = append(ids, n.Id)
	}
	return ids, err
}

// errJoining is of a node that is in the registry and has not seen that yet.
var errJoining = errors.New("no member yet")

// find asks everybody in the registry, at Start, until a member answers, none is
// left to ask, or the time of suspicion is over. It waits for those that are
// joining: each would keep what it is given to itself until they meet.
func (p *platform) find(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.options.Suspicion)
	defer cancel()
	for again := true; again; again = lifecycle.Sleep(ctx, p.interval()/5) {
		nodes, err := p.registered()
		if err != nil {
			continue
		}
		answers := make(chan error, len(nodes))
		for _, n := range nodes {
			go func() { answers <- p.ask(ctx, node{id: n.Id, address: n.Address}) }()
		}
		found, silent := false, false
		for range nodes {
			err := <-answers
			found = found || err == nil
			silent = silent || err != nil && call.Code(err) != 501 && call.Code(err) != 403
		}
		if found || !silent {
			return
		}
	}
}

// ask probes one node and takes in what it says.
func (p *platform) ask(ctx context.Context, n node) error {
	ctx, cancel := context.WithTimeout(ctx, 2*p.interval())
	defer cancel()
	req := &pb.ProbeRequest{Namespace: p.options.Namespace}
	req.Self, req.Members = p.members.message(nil)
	called := time.Now()
	rsp, err := p.service.Probe(ctx, req, p.to(n.address, 2*p.interval())...)
	if err != nil || rsp.Self.GetId() != n.id { // somebody else has the address now
		p.members.failed(n)
		return err
	}
	removed, more := p.members.answered(n.address, called, rsp)
	if removed {
		p.options.Logger.Warn("kv member was removed by the others while it did not answer, and starts empty", "id", p.members.self.id)
	}
	if how := p.compare(rsp); p.members.differ(n.id, how) {
		p.options.Logger.Warn("kv member has other options, which breaks what both promise", "id", n.id, "options", how)
	}
	if more {
		poke(p.discover)
	}
	if p.view.Load() != nil {
		p.install()
	}
	if rsp.Self.Joining {
		return errJoining
	}
	return nil
}

// compare tells which options of another member are not those of this one.
func (p *platform) compare(rsp *pb.ProbeResponse) string {
	var differ []string
	o := p.options
	for _, x := range []struct {
		name        string
		here, there int64
	}{
		{"Suspicion in ms", o.Suspicion.Milliseconds(), rsp.SuspicionMs}, {"Replicas", int64(o.Replicas), int64(rsp.Replicas)},
		{"Quorum read", int64(o.Read), int64(rsp.Read)}, {"Quorum write", int64(o.Write), int64(rsp.Write)},
	} {
		if x.here != x.there {
			differ = append(differ, fmt.Sprintf("%s: %d here, %d there", x.name, x.here, x.there))
		}
	}
	return strings.Join(differ, "; ")
}

// to are the options of a call to one member, which is not tried again.
func (p *platform) to(address string, timeout time.Duration) []client.CallOption {
	return []client.CallOption{
		client.WithAddress(address), client.WithRetries(0), client.WithRequestTimeout(timeout), client.WithDialTimeout(timeout),
	}
}

// askSoon probes a node in the background unless that is under way.
func (p *platform) askSoon(n node) {
	p.mu.Lock()
	busy := p.asked[n.address]
	p.asked[n.address] = true
	p.mu.Unlock()
	if busy {
		return
	}
	p.spawn(func() {
		_ = p.ask(p.ctx, n) // a member that does not answer is failing, which ask noted
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.asked, n.address)
	})
}

// watch looks into the registry for members that came: often until this one is
// there itself, then now and then, and when somebody announced itself.
func (p *platform) watch(ctx context.Context) {
	announced := time.Time{}
	for {
		nodes, err := p.registered()
		if err == nil {
			for _, n := range nodes {
				p.members.mu.Lock()
				known, ok := p.members.all[n.Id]
				met := ok && !known.gone && known.incarnation > 0 && known.address == n.Address && !known.failing
				p.members.mu.Unlock()
				if !met {
					p.askSoon(node{id: n.Id, address: n.Address})
				}
			}
		}
		p.members.mu.Lock()
		joined := p.members.joined
		p.members.mu.Unlock()
		pause := p.interval() / 5
		if joined {
			p.install()
			if time.Since(announced) >= GossipEvent {
				p.listen()
				p.announce()
				announced = time.Now()
			}
			pause = GossipEvent
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-p.discover:
			timer.Stop()
			if !lifecycle.Sleep(ctx, 10*time.Millisecond) { // many may have come
				return
			}
		}
	}
}

// probe asks all members whether they live, and buries the dead.
func (p *platform) probe(ctx context.Context) {
	ticker := time.NewTicker(p.interval())
	defer ticker.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.members.forget()
			if gone := p.members.bury(p.registeredIds); len(gone) > 0 {
				p.options.Logger.Warn("kv members did not answer and were removed", "ids", gone, "for", p.options.Suspicion)
				p.install()
			}
		case <-p.probeNow:
			// At once, but callers that fail ask for it all the time.
			if !lifecycle.Sleep(ctx, max(2*time.Millisecond, p.interval()/10-time.Since(last))) {
				return
			}
		}
		last = time.Now()
		for _, n := range p.members.alive() {
			p.askSoon(n)
		}
	}
}
