package srv

import (
	"context"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// subscribe takes the topics that carry reports while this service cannot be
// reached by RPC, and those of plugins that know nothing else. Whoever reads a topic
// can publish to it as others did, so topics speak for a node only while it does
// not report by RPC, and they change no route.
func (h *handler) subscribe(s server.Server) error {
	for topic, f := range map[string]any{
		monitor.StatusTopic:      h.onStatus,
		monitor.HealthCheckTopic: h.onHealthCheck,
		monitor.StatsTopic:       h.onStats,
	} {
		if err := s.Subscribe(s.NewSubscriber(topic, f)); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) onStatus(ctx context.Context, msg *pb.Status) error {
	if err := firstOf(checkService(msg.Service), checkStatus(msg)); err != nil {
		return err
	}
	if err := h.holds(ctx, msg.Service.Name); err != nil {
		return err
	}
	return h.state.heard(msg.Service, time.Duration(msg.Interval)*time.Second, func(n *node, now time.Time) {
		n.current = msg
		h.state.transit(n, msg.Status, "by topic", now)
	})
}

func (h *handler) onHealthCheck(ctx context.Context, msg *pb.HealthCheck) error {
	if err := firstOf(checkService(msg.Service), checkCheck(msg)); err != nil {
		return err
	}
	if err := h.holds(ctx, msg.Service.Name); err != nil {
		return err
	}
	return h.state.heard(msg.Service, time.Duration(msg.Interval)*time.Second, func(n *node, now time.Time) {
		if n.checks[msg.Id] != nil || len(n.checks) < maxChecks {
			h.state.check(n, msg, now)
			n.checks[msg.Id] = msg
		}
	})
}

func (h *handler) onStats(ctx context.Context, msg *pb.Stats) error {
	if err := firstOf(checkService(msg.Service), checkStats(msg)); err != nil {
		return err
	}
	if err := h.holds(ctx, msg.Service.Name); err != nil {
		return err
	}
	return h.state.heard(msg.Service, time.Duration(msg.Interval)*time.Second, func(n *node, _ time.Time) {
		n.stats = msg
	})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// heard has f update the node that a topic speaks for, unless the node reports
// by RPC or there is no room for it.
func (s *state) heard(service *pb.Service, interval time.Duration, f func(*node, time.Time)) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[service.Nodes[0].Id]
	switch {
	case n == nil && (len(s.nodes) >= maxNodes || s.topics >= maxTopicNodes):
		return rpcerr.Invalid("service", "no room for more nodes that only topics know")
	case n == nil:
		n = s.add(service, now)
		n.topic = true
		s.topics++
	case n.incarnation != "" && !n.silent(now):
		return nil
	}
	n.interval, n.heard = min(max(interval, time.Second), maxInterval), now
	f(n, now)
	return nil
}
