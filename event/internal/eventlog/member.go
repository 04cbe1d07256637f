package eventlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

const maxSubscriptions = 10_000

// Member is one connection of a member of a durable subscription. Next belongs
// to one goroutine, the others may be called by any.
type Member struct {
	sub    *subscription
	id     string
	filter plugin.Filter
	wake   chan struct{}
	kicked chan struct{} // closed when the member connected anew, or the subscription is removed

	// Under the subscription's mutex.
	credit   int
	inflight map[uint64]*item
	lone     *item // of inflight, the one that was delivered alone
	queue    []*pb.Delivery
	detached bool
}

func (m *Member) room() int { return m.credit - len(m.inflight) }

func (m *Member) notify() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Join connects a member. The subscription is made, and on disk, when there is
// none of the name. What an earlier connection of the member got and it does
// not hold any more is delivered anew.
func (l *Log) Join(ctx context.Context, who plugin.Membership) (*Member, error) {
	if err := checkSubscription(who.Conf, who.Member, who.Credit); err != nil {
		return nil, err
	}
	conf, held := who.Conf, who.Held
	if who.Log != "" && who.Log != l.ID() {
		conf, held = proto.CloneOf(conf), nil
		conf.Start = pb.Start_BEGINNING
	}
	s, err := l.subscription(ctx, conf)
	if err != nil {
		return nil, err
	}
	m, err := s.join(conf, who.Member, who.Credit, held)
	if err != nil {
		return nil, err
	}
	if err := s.keep(ctx); err != nil {
		m.Detach()
		return nil, err
	}
	return m, nil
}

// keep returns when the subscription, with its types, is on disk: a process that
// follows would begin it elsewhere, or pass over what a member names.
func (s *subscription) keep(ctx context.Context) error {
	s.mu.Lock()
	united, kept := s.united, s.kept
	s.mu.Unlock()
	if united == kept {
		return nil
	}
	s.log.changed(s)
	if err := s.log.Flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = max(s.kept, united)
	return nil
}

func checkSubscription(conf *pb.Subscription, id string, credit int) error {
	switch {
	case !clean.Name(conf.GetName(), event.MaxName):
		return fmt.Errorf("%w: subscription.name: want 1 to %d bytes of printable UTF-8", event.ErrInvalid, event.MaxName)
	case !clean.Name(id, event.MaxName):
		return fmt.Errorf("%w: member: want 1 to %d bytes of printable UTF-8", event.ErrInvalid, event.MaxName)
	case credit <= 0 || credit > event.MaxPrefetch:
		return fmt.Errorf("%w: credit: %d is not within 1..%d", event.ErrInvalid, credit, event.MaxPrefetch)
	case conf.AckWait < int64(event.MinAckWait) || conf.AckWait > int64(event.MaxAckWait):
		return fmt.Errorf("%w: subscription.ack_wait: %v is not within %v..%v", event.ErrInvalid,
			time.Duration(conf.AckWait), event.MinAckWait, event.MaxAckWait)
	case conf.MaxTries < 0 || conf.MaxTries > event.MaxMaxTries:
		return fmt.Errorf("%w: subscription.max_tries: %d is not within 0..%d", event.ErrInvalid, conf.MaxTries, event.MaxMaxTries)
	}
	_, err := plugin.NewFilter(conf.Types...)
	return err
}

// subscription returns that of the name, which is made when there is none.
func (l *Log) subscription(ctx context.Context, conf *pb.Subscription) (*subscription, error) {
	l.mu.Lock()
	s := l.subs[conf.Name]
	l.mu.Unlock()
	if s != nil {
		return s, nil
	}
	next, err := l.Resolve(ctx, conf.Start, conf.Sequence, conf.Time, "")
	if err != nil {
		return nil, err
	}
	fresh, err := newSubscription(l, conf, next)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.subs[conf.Name]; s != nil { // somebody was faster
		return s, nil
	}
	if len(l.subs) >= maxSubscriptions {
		return nil, fmt.Errorf("%w: %d subscriptions already", rpcerr.ErrLimited, maxSubscriptions)
	}
	l.subs[conf.Name] = fresh
	return fresh, nil
}

func (s *subscription) join(conf *pb.Subscription, id string, credit int, held []uint64) (*Member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.members[id]
	switch {
	case s.removed:
		return nil, fmt.Errorf("%w: subscription removed at this moment", event.ErrUnavailable)
	case old == nil && len(s.members) >= maxMembers:
		return nil, fmt.Errorf("%w: %d members already", rpcerr.ErrLimited, maxMembers)
	}
	filter, err := plugin.NewFilter(conf.Types...)
	if err != nil {
		return nil, err
	}
	s.adopt(conf)
	s.entered()
	m := &Member{
		sub: s, id: id, filter: filter, credit: credit,
		wake: make(chan struct{}, 1), kicked: make(chan struct{}),
		inflight: make(map[uint64]*item),
	}
	s.members[id] = m
	if old != nil && !slices.Equal(old.filter.Types(), filter.Types()) {
		s.remember(old.filter)
	}
	s.unite()
	s.takeOver(m, old, held)
	if !s.running {
		s.running = true
		s.log.runs.Go(s.dispatch)
	}
	s.log.changed(s)
	s.poke()
	return m, nil
}

// maxHeld is what one connection of a member may take over: as many as it may
// handle, and as many whose outcomes it tells.
const maxHeld = 2 * event.MaxPrefetch

// takeOver gives the member what it still handles, also when this process does
// not know of it because it is new.
func (s *subscription) takeOver(m, old *Member, held []uint64) {
	mine := make(map[uint64]bool, len(held))
	for _, seq := range held[:min(len(held), maxHeld)] {
		mine[seq] = true
		it := s.items[seq]
		switch {
		case it != nil && (it.phase == ready || it.holder != nil && it.holder == old):
			s.lease(it, m)
		case it == nil && s.expected(seq) && len(s.claims) < window:
			s.claims[seq] = m.id
		}
	}
	if old == nil {
		return
	}
	for seq, it := range old.inflight {
		if !mine[seq] { // it never arrived
			it.spared++
			s.requeue(it)
		}
	}
	if !old.detached {
		close(old.kicked)
	}
}

func (s *subscription) lease(it *item, m *Member) {
	s.release(it)
	it.phase, it.holder = leased, m
	it.try = max(it.try, 1)
	m.inflight[it.record.Sequence] = it
	if it.alone {
		m.lone = it
	}
	s.wait(it, s.ackWait())
}

// Next waits for deliveries and returns them with the subscription's lag. None
// are a sign of life.
func (m *Member) Next(ctx context.Context) ([]*pb.Delivery, uint64, error) {
	alive := time.NewTimer(LifeSign)
	defer alive.Stop()
	for {
		m.sub.mu.Lock()
		queue, lag := m.queue, m.sub.lag()
		m.queue = nil
		m.sub.mu.Unlock()
		if len(queue) > 0 {
			return queue, lag, nil
		}
		select {
		case <-m.wake:
		case <-alive.C:
			return nil, lag, nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-m.kicked:
			return nil, 0, fmt.Errorf("%w: the member connected anew, or the subscription was removed", event.ErrUnavailable)
		case <-m.sub.log.done:
			return nil, 0, m.sub.log.why
		}
	}
}

// Settle says what became of deliveries, and which are still handled. What is
// acknowledged is settled, whoever holds it by now; other outcomes count only
// for the newest delivery. A member may know of more tries than a new process.
func (m *Member) Settle(settled []*pb.Settlement, touched []uint64) {
	s := m.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range settled {
		it := s.items[o.Sequence]
		mine := it != nil && it.holder != nil && it.holder.id == m.id && it.try <= o.Try
		switch {
		case it == nil:
			s.forgive(o)
		case o.Outcome == pb.Outcome_ACK:
			s.settle(it)
		case !mine:
		case o.Outcome == pb.Outcome_REJECT:
			it.try, it.reason = o.Try, o.Reason
			s.kill(it)
		default:
			it.try, it.alone = o.Try, false
			s.fail(it, time.Duration(min(max(o.Delay, 0), int64(24*time.Hour))), o.Reason)
		}
	}
	for _, seq := range touched {
		if it := m.inflight[seq]; it != nil {
			s.wait(it, s.ackWait())
		}
	}
	if len(settled) > 0 {
		s.log.changed(s)
	}
	s.poke()
}

// Leave gives back what the member did not settle, as if it had never been
// delivered, and returns when the settlements are on disk.
func (m *Member) Leave(ctx context.Context) error {
	s := m.sub
	s.mu.Lock()
	m.queue = nil
	for _, it := range m.inflight {
		it.try--
		s.requeue(it)
	}
	if s.members[m.id] == m {
		s.gone(m)
	}
	m.detached = true
	s.deserted()
	s.log.changed(s)
	s.poke()
	s.mu.Unlock()
	return s.log.Flush(ctx)
}

// Detach says that the connection is gone. The member has a moment to come
// back before others get its deliveries.
func (m *Member) Detach() {
	s := m.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.detached {
		return
	}
	m.detached = true
	m.queue = nil
	for _, it := range m.inflight {
		if soon := time.Now().Add(grace); soon.Before(it.due) {
			s.wait(it, grace)
		}
	}
	if len(m.inflight) == 0 && s.members[m.id] == m {
		s.gone(m)
	}
	s.deserted()
	s.poke()
}
