package eventlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Subscriptions returns the status of all durable subscriptions by name, or of
// the one.
func (l *Log) Subscriptions(name string) []*pb.SubscriptionStatus {
	l.mu.Lock()
	var subs []*subscription
	for _, s := range l.subs {
		if name == "" || s.name == name {
			subs = append(subs, s)
		}
	}
	l.mu.Unlock()
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.name, b.name) })
	all := make([]*pb.SubscriptionStatus, 0, len(subs))
	for _, s := range subs {
		all = append(all, s.status())
	}
	return all
}

func (s *subscription) status() *pb.SubscriptionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	floor := s.next
	for seq := range s.items {
		floor = min(floor, seq-1)
	}
	if len(s.reread) > 0 {
		floor = min(floor, s.reread[0]-1)
	}
	return &pb.SubscriptionStatus{
		Subscription: s.conf, Floor: floor, Lag: s.lag(),
		Unsettled: int64(len(s.items) + len(s.reread)), Members: int64(s.attached()),
		Delivered: s.stats.delivered, Redelivered: s.stats.redelivered, Dead: s.stats.dead, Skipped: s.stats.skipped,
	}
}

// Unsubscribe forgets a durable subscription and ends its members'
// connections; one that connects again makes it anew. After an error it may be
// called again.
func (l *Log) Unsubscribe(ctx context.Context, name string) error {
	l.mu.Lock()
	s := l.subs[name]
	if s == nil {
		going := slices.Contains(l.gone, name)
		l.mu.Unlock()
		if going {
			return l.Flush(ctx)
		}
		return fmt.Errorf("subscription %q: %w", name, rpcerr.ErrNotFound)
	}
	delete(l.subs, name)
	delete(l.dirty, s)
	l.gone = append(l.gone, name)
	l.mu.Unlock()

	s.mu.Lock()
	s.removed = true
	for _, m := range s.members {
		if !m.detached {
			m.detached = true
			close(m.kicked)
		}
	}
	s.poke()
	s.mu.Unlock()
	return l.Flush(ctx)
}
