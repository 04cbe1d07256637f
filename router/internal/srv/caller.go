package srv

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

const (
	maxCallers      = 20_000 // known at a time
	maxTopicCallers = 1_000  // of them known by the topic alone
	missed          = 3      // intervals of silence after which a caller is gone
)

// identity is who calls.
type identity struct{ service, node, zone, host string }

// identify returns who calls: a service whose name the caller's account holds. A
// node's name belongs to the host that used it last until it falls silent.
func (h *handler) identify(ctx context.Context, c *pb.Caller) (identity, error) {
	if err := checkCaller(c); err != nil {
		return identity{}, err
	}
	if err := h.holds(ctx, c.Service); err != nil {
		return identity{}, fmt.Errorf("caller.service: %w", err)
	}
	return identity{c.Service, c.Node, c.Zone, daemon.PeerHost(ctx)}, nil
}

// caller is one node that reports. The engine's mutex guards it, but for topic
// and place which do not change.
type caller struct {
	identity
	topic       bool   // known by the topic alone: decides nothing
	place       string // what tells one machine from another; see judgement
	incarnation string
	seq         uint64
	heard       time.Time
	interval    time.Duration
}

func (c *caller) silent(now time.Time) bool { return now.Sub(c.heard) > missed*c.interval }

// admit returns the caller of a report, or nil when the report is an old one.
func (e *engine) admit(id identity, r *pb.ReportRequest, now time.Time) (*caller, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.known(id, false, now)
	if err != nil {
		return nil, err
	}
	if c.incarnation == r.Incarnation && r.Seq <= c.seq {
		return nil, nil
	}
	c.incarnation, c.seq = r.Incarnation, r.Seq
	c.heard, c.interval = now, time.Duration(r.IntervalMs)*time.Millisecond
	return c, nil
}

// known returns the caller of this identity, made when it is new.
func (e *engine) known(id identity, topic bool, now time.Time) (*caller, error) {
	c := e.callers[id.node]
	switch {
	case c != nil && c.topic == topic && c.identity == id:
		return c, nil
	case c != nil && topic && !c.topic && !c.silent(now):
		return nil, nil
	case c != nil && !c.topic && !c.silent(now) && (c.host != id.host || c.service != id.service):
		return nil, fmt.Errorf("caller.node: %w: another host or service reports as %s", rpcerr.ErrExists, id.node)
	case c == nil && (len(e.callers) >= maxCallers || topic && e.topicCallers >= maxTopicCallers):
		return nil, fmt.Errorf("caller: %w: no room for more", rpcerr.ErrLimited)
	}
	e.forget(c)
	c = &caller{identity: id, topic: topic, place: id.host, heard: now, interval: time.Second}
	if loopback(id.host) {
		c.place = "loopback " + id.node
	}
	e.callers[id.node] = c
	if topic {
		e.topicCallers++
	}
	return c, nil
}

func (e *engine) forget(c *caller) {
	if c == nil {
		return
	}
	delete(e.callers, c.node)
	if c.topic {
		e.topicCallers--
	}
}

// forgetCallers drops those that are silent for as long as what they measured
// is kept.
func (e *engine) forgetCallers(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.callers {
		if c.silent(now) && now.Sub(c.heard) > e.window {
			e.forget(c)
		}
	}
}
