package event

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/lifecycle"
)

// remembered is how many acknowledged deliveries a member knows again when the
// log was killed before it had saved them.
const remembered = 8192

// member is one Consume of a durable subscription. Its workers go on while the
// connection to the log comes and goes.
type member struct {
	connection
	handler *guard
	options ConsumeOptions
	id      string
	log     string // of the last connection
	work    chan *holding
	wake    chan struct{} // outcomes came

	mu       sync.Mutex
	lag      uint64
	held     map[uint64]*holding
	outcomes []*pb.Settlement // not told yet
	told     []*pb.Settlement // the last acknowledgements told: a connection that broke may have swallowed them
	acked    map[place]struct{}
	order    []place // of acked, the oldest at next
	next     int
}

// holding is a delivery that is queued or handled. One that is not among those
// that are held is of a log that is gone: nobody waits for its outcome.
type holding struct {
	record *pb.Record
	first  int32     // the try it came as
	try    int32     // the newest
	begun  time.Time // zero while queued
}

// place names a record also when the log has become another one.
type place struct {
	sequence uint64
	id       string
}

func newMember(p *Plugin, c Consumer, o ConsumeOptions) *member {
	conn := newConnection(p, o)
	return &member{
		connection: conn,
		handler:    &guard{plugin: p, what: conn.what, consumer: c},
		options:    o, id: uuid.NewString(),
		work:  make(chan *holding, o.Prefetch),
		wake:  make(chan struct{}, 1),
		held:  make(map[uint64]*holding),
		acked: make(map[place]struct{}),
	}
}

func (m *member) conf() *pb.Subscription {
	o := m.options
	conf := &pb.Subscription{
		Name: o.Name, Types: o.Types, Start: pb.Start(o.Start), Sequence: o.Sequence,
		MaxTries: int32(o.MaxTries), AckWait: int64(o.AckWait), Ordered: o.Ordered,
	}
	if o.Start == StartTime {
		conf.Time = o.Time.UnixNano()
	}
	return conf
}

func (m *member) run(ctx context.Context) error {
	workers, stop := context.WithCancel(ctx)
	defer stop()
	defer m.handler.over()
	var running sync.WaitGroup
	for range m.options.Concurrency {
		running.Go(func() { m.worker(workers) })
	}
	for {
		session, err := m.plugin.driver.Join(ctx, plugin.Membership{
			Conf: m.conf(), Member: m.id, Credit: m.options.Prefetch, Held: m.unsettled(), Log: m.log, Skipped: m.plugin.skip,
		})
		if err == nil {
			m.joined(session.Log())
			err = m.serve(ctx, session, &running)
		}
		if errors.Is(err, ErrInvalid) || ctx.Err() != nil {
			stop()
			running.Wait()
			return err
		}
		if m.down(ctx, err) != nil {
			running.Wait()
			return ctx.Err()
		}
	}
}

// joined forgets what belongs to another log, and has told again what the last
// connection may have swallowed.
func (m *member) joined(log string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.log != "" && m.log != log {
		m.plugin.logger().Warn("event: " + m.what + " found a new log and reads it from its beginning")
		m.outcomes, m.told = nil, nil
		clear(m.held)
		m.clearWork()
	}
	m.outcomes, m.told = append(m.told, m.outcomes...), nil
	m.log = log
}

// clearWork makes room for new deliveries while handlers of old ones go on.
func (m *member) clearWork() {
	for {
		select {
		case <-m.work:
		default:
			return
		}
	}
}

// serve is one connection, to its end.
func (m *member) serve(ctx context.Context, s plugin.Session, running *sync.WaitGroup) error {
	receiving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	broken := make(chan error, 1)
	var receiver sync.WaitGroup
	receiver.Go(func() { broken <- m.receive(receiving, s) })
	hangUp := func() {
		s.Close()
		cancel()
		receiver.Wait()
	}
	err := m.settle(ctx, s, broken)
	if ctx.Err() == nil {
		hangUp()
		return err
	}
	// The last handlers may take their time; their outcomes count.
	running.Wait()
	leaving, done := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer done()
	if err == nil {
		err = m.tell(leaving, s, nil)
	}
	if err == nil {
		err = s.Leave(leaving)
	}
	hangUp()
	if err != nil {
		m.plugin.logger().Warn("event: "+m.what+" could not say goodbye: what it had not settled waits", "error", err)
	}
	return ctx.Err()
}

func (m *member) receive(ctx context.Context, s plugin.Session) error {
	for {
		deliveries, lag, err := s.Recv(ctx)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.lag = lag
		m.mu.Unlock()
		for _, d := range deliveries {
			h := m.accept(d)
			if h == nil {
				continue
			}
			select {
			case m.work <- h:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// accept returns what is to be handled: nothing when it was, or is just now.
func (m *member) accept(d *pb.Delivery) *holding {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := d.Record.Sequence
	if _, known := m.acked[place{seq, d.Record.Id}]; known {
		m.outcomes = append(m.outcomes, &pb.Settlement{Sequence: seq, Try: d.Try})
		m.notify()
		return nil
	}
	if h := m.held[seq]; h != nil {
		h.try = d.Try
		return nil
	}
	h := &holding{record: d.Record, first: d.Try, try: d.Try}
	m.held[seq] = h
	return h
}

func (m *member) notify() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// settle tells the outcomes until ctx ends or the connection breaks.
func (m *member) settle(ctx context.Context, s plugin.Session, broken <-chan error) error {
	touch := time.NewTicker(m.options.AckWait / 3)
	defer touch.Stop()
	if err := m.tell(ctx, s, nil); err != nil {
		return err
	}
	m.up()
	for {
		var touched []uint64
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case <-m.wake:
		case <-touch.C:
			touched = m.waiting()
		}
		if err := m.tell(context.WithoutCancel(ctx), s, touched); err != nil {
			return err
		}
	}
}

// tell hands over the outcomes; those it could not are told again.
func (m *member) tell(ctx context.Context, s plugin.Session, touched []uint64) error {
	m.mu.Lock()
	outcomes := m.outcomes
	m.outcomes = nil
	m.mu.Unlock()
	if len(outcomes)+len(touched) == 0 {
		return nil
	}
	err := s.Settle(ctx, outcomes, touched)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.outcomes = append(outcomes, m.outcomes...)
		return err
	}
	for _, o := range outcomes {
		if o.Outcome == pb.Outcome_ACK { // no harm in saying it twice
			m.told = append(m.told, o)
		}
	}
	// Of older ones the log has heard: there was credit for these.
	m.told = slices.Delete(m.told, 0, max(len(m.told)-m.options.Prefetch, 0))
	return nil
}

// unsettled returns the sequences of the deliveries that the log may not know
// to be settled, and must not give to others.
func (m *member) unsettled() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Collect(maps.Keys(m.held))
	for _, o := range slices.Concat(m.told, m.outcomes) {
		all = append(all, o.Sequence)
	}
	return all
}

// waiting returns the sequences of the deliveries that are queued, or whose
// handler still has time. One that hangs loses its record to somebody else.
func (m *member) waiting() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []uint64
	for seq, h := range m.held {
		if h.begun.IsZero() || time.Since(h.begun) < m.options.AckWait {
			all = append(all, seq)
		}
	}
	return all
}

func (m *member) worker(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-m.work:
			if lag, ok := m.begin(h); ok && ctx.Err() == nil {
				m.handle(ctx, h, lag)
			}
		}
	}
}

// begin reports whether the delivery is still to be handled.
func (m *member) begin(h *holding) (lag uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h.begun = time.Now()
	return m.lag, m.held[h.record.Sequence] == h
}

func (m *member) handle(ctx context.Context, h *holding, lag uint64) {
	within, cancel := context.WithTimeout(ctx, m.options.AckWait)
	defer cancel()
	err := m.handler.handle(within, &Delivery{Record: fromMessage(h.record), Try: int(h.first), Lag: lag})
	m.finish(h, judge(err), ctx.Err() != nil)
}

// finish notes the outcome. What was interrupted by the end of Consume has
// none: it goes back as if it had not been delivered.
func (m *member) finish(h *holding, v verdict, interrupted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := h.record.Sequence
	if m.held[seq] != h {
		return // of a log that is gone
	}
	delete(m.held, seq)
	if v.outcome != pb.Outcome_ACK && interrupted {
		return
	}
	if v.outcome == pb.Outcome_ACK {
		m.remember(place{seq, h.record.Id})
	}
	m.outcomes = append(m.outcomes, settlement(h, v))
	m.notify()
}

// settlement says how a handler ended.
func settlement(h *holding, v verdict) *pb.Settlement {
	out := &pb.Settlement{Sequence: h.record.Sequence, Try: h.try, Outcome: v.outcome, Reason: v.reason}
	switch {
	case v.again != nil:
		out.Delay = int64(v.again.after)
	case v.outcome == pb.Outcome_NACK:
		out.Delay = int64(retryDelay(int(h.try)))
	}
	return out
}

func (m *member) remember(p place) {
	if len(m.order) < remembered {
		m.order = append(m.order, p)
	} else {
		delete(m.acked, m.order[m.next])
		m.order[m.next] = p
		m.next = (m.next + 1) % remembered
	}
	m.acked[p] = struct{}{}
}

// retryDelay is the wait after a try that failed: 100 ms, doubled each time.
func retryDelay(try int) time.Duration {
	return min(100*time.Millisecond<<min(max(try-1, 0), 20), 30*time.Second)
}
