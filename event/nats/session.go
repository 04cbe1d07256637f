package nats

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/eventlog"
	"github.com/micro/go-platform/internal/jslog"
)

// inflight is what a member has not settled, over all its connections: a
// message can be settled whatever connection it came by.
type inflight struct {
	mu   sync.Mutex
	held map[uint64]*pending
}

type pending struct {
	msg    jetstream.Msg
	record *pb.Record
	try    int
}

// session is a connection of a member: one durable consumer, or one for each
// part when keys are to be kept in order, with one delivery underway in each.
type session struct {
	driver   *driver
	stream   *jslog.Stream
	conf     *pb.Subscription
	filter   event.Filter
	member   string
	inflight *inflight
	arrived  chan *pb.Delivery
	room     chan struct{} // a token for each delivery that may come
	broken   chan error
	cancel   context.CancelFunc
	fetchers sync.WaitGroup
	closing  sync.Once
	lag      uint64
	lagMu    sync.Mutex
}

// maxPending bounds the deliveries of a subscription that are not settled.
const maxPending = 4096

// pullWait is how long one request to the server lives: who leaves waits for
// it, so that nothing is sent to nobody.
const pullWait = time.Second

// Join implements event.Driver.
func (d *driver) Join(ctx context.Context, m event.Membership) (event.Session, error) {
	filter, err := event.NewFilter(m.Conf.Types...)
	if err != nil {
		return nil, err
	}
	s, err := d.stream(ctx)
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	conf := m.Conf
	consumers, err := open(starting, s, conf, filter, m.Log != "" && m.Log != s.ID())
	if err != nil {
		d.failed(s)
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	x := &session{
		driver: d, stream: s, conf: conf, filter: filter, member: m.Member, cancel: end,
		arrived: make(chan *pb.Delivery), broken: make(chan error, len(consumers)), room: make(chan struct{}, m.Credit),
	}
	d.mu.Lock()
	if x.inflight = d.members[m.Member]; x.inflight == nil {
		x.inflight = &inflight{held: make(map[uint64]*pending)}
		d.members[m.Member] = x.inflight
	}
	d.mu.Unlock()
	x.keep(m)
	for _, c := range consumers {
		x.fetchers.Go(func() { x.broken <- x.fetch(life, c, len(consumers) > 1) })
	}
	return x, nil
}

// keep forgets what the member does not hold any more.
func (x *session) keep(m event.Membership) {
	held := make(map[uint64]bool, len(m.Held))
	for _, seq := range m.Held {
		held[seq] = m.Log == x.stream.ID()
	}
	x.inflight.mu.Lock()
	defer x.inflight.mu.Unlock()
	for seq := range x.inflight.held {
		if !held[seq] {
			delete(x.inflight.held, seq)
		}
	}
	for range m.Credit - min(len(x.inflight.held), m.Credit) {
		x.room <- struct{}{}
	}
}

func open(ctx context.Context, s *jslog.Stream, conf *pb.Subscription, f event.Filter, anew bool) ([]jetstream.Consumer, error) {
	parts := []string{"*"}
	if conf.Ordered {
		parts = nil
		for i := range jslog.Parts {
			parts = append(parts, strconv.FormatUint(uint64(i), 16))
		}
	}
	begin, err := start(ctx, s, conf, anew)
	if err != nil {
		return nil, err
	}
	var all []jetstream.Consumer
	for _, part := range parts {
		c := begin
		c.Durable = durableName(conf.Name)
		c.MaxAckPending = maxPending
		if conf.Ordered {
			c.Durable += "~" + part
			c.MaxAckPending = 1
		}
		c.FilterSubject = s.Filter(f, part)
		c.AckPolicy, c.AckWait, c.MaxDeliver = jetstream.AckExplicitPolicy, time.Duration(conf.AckWait), -1
		consumer, err := s.Durable(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, consumer)
	}
	return all, nil
}

// start says where a consumer begins that is made. All parts begin at the same
// place.
func start(ctx context.Context, s *jslog.Stream, conf *pb.Subscription, anew bool) (jetstream.ConsumerConfig, error) {
	if anew {
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, nil
	}
	switch conf.Start {
	case pb.Start_BEGINNING:
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, nil
	case pb.Start_SEQUENCE:
		return jslog.After(conf.Sequence - 1), nil
	case pb.Start_TIME:
		return jslog.At(conf.Time), nil
	}
	_, last, err := s.Bounds(ctx)
	return jslog.After(last), err
}

// durableName is the name with what NATS does not take in one written as two
// hexadecimal digits after an equals sign.
func durableName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c == '-' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// Log implements event.Session.
func (x *session) Log() string { return x.stream.ID() }

// fetch asks the consumer for as many messages as there is room for. The parts
// of an ordered subscription need no room: each has one delivery underway.
func (x *session) fetch(ctx context.Context, c jetstream.Consumer, part bool) error {
	for idle := 0; ; {
		n := 1
		if !part {
			if n = x.take(ctx); n == 0 {
				return ctx.Err()
			}
		}
		batch, err := c.Fetch(n, jetstream.FetchMaxWait(pullWait))
		if err != nil {
			return jslog.Wrap(err, "consume from stream "+x.stream.Name())
		}
		came, err := x.messages(ctx, batch, n, part)
		if err != nil {
			return err
		}
		if err := batch.Error(); err != nil {
			return jslog.Wrap(err, "consume from stream "+x.stream.Name())
		}
		if !x.driver.conn.IsConnected() {
			return fmt.Errorf("%w: not connected to NATS", event.ErrUnavailable)
		}
		if idle++; came > 0 {
			idle = 0
		}
		if idle%idleLook == idleLook-1 {
			if err := x.driver.exists(ctx, c, "consume from stream "+x.stream.Name()); err != nil {
				return err
			}
		}
	}
}

// idleLook is after how many requests without an answer it is asked whether
// the consumer is there.
const idleLook = 5

// take waits for room and takes what there is, up to a page.
func (x *session) take(ctx context.Context) (n int) {
	select {
	case <-x.room:
		n = 1
	case <-ctx.Done():
		return 0
	}
	for n < pageSize {
		select {
		case <-x.room:
			n++
		default:
			return n
		}
	}
	return n
}

func (x *session) give(n int) {
	for range n {
		select {
		case x.room <- struct{}{}:
		default: // a message that came twice took one token
		}
	}
}

// messages hands over a batch and tells how many messages it had. When the session ends meanwhile what is left of
// it goes back.
func (x *session) messages(ctx context.Context, batch jetstream.MessageBatch, n int, part bool) (came int, _ error) {
	messages := batch.Messages()
	for ; ; came++ {
		var msg jetstream.Msg
		var ok bool
		select {
		case msg, ok = <-messages:
		case <-ctx.Done():
			for msg := range messages { // for as long as the server may send
				_ = msg.Nak() // without it the message comes again after AckWait
			}
			return came, ctx.Err()
		}
		if !ok {
			if !part {
				x.give(n)
			}
			return came, nil
		}
		d := x.delivery(msg)
		if d == nil {
			continue
		}
		n--
		select {
		case x.arrived <- d:
		case <-ctx.Done():
			x.drop(d.Record.Sequence)
			_ = msg.Nak() // as above
		}
	}
}

// delivery makes a message what a member gets, or settles one that is not for
// it.
func (x *session) delivery(msg jetstream.Msg) *pb.Delivery {
	r, meta, err := jslog.Decode(msg)
	if err != nil || !x.filter.Match(r.Type) {
		_ = msg.Term() // else it comes again, and is terminated then
		return nil
	}
	x.lagMu.Lock()
	x.lag = meta.NumPending
	x.lagMu.Unlock()
	try := int(meta.NumDelivered)
	x.inflight.mu.Lock()
	x.inflight.held[r.Sequence] = &pending{msg, r, try}
	x.inflight.mu.Unlock()
	return &pb.Delivery{Record: r, Try: int32(try)}
}

func (x *session) drop(seq uint64) {
	x.inflight.mu.Lock()
	defer x.inflight.mu.Unlock()
	delete(x.inflight.held, seq)
}

// Recv implements event.Session.
func (x *session) Recv(ctx context.Context) ([]*pb.Delivery, uint64, error) {
	var all []*pb.Delivery
	select {
	case d := <-x.arrived:
		all = append(all, d)
	case err := <-x.broken:
		return nil, 0, err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	x.lagMu.Lock()
	lag := x.lag
	x.lagMu.Unlock()
	x.inflight.mu.Lock()
	lag += uint64(len(x.inflight.held))
	x.inflight.mu.Unlock()
	return all, lag, nil
}

// Settle implements event.Session.
func (x *session) Settle(ctx context.Context, settled []*pb.Settlement, touched []uint64) error {
	for _, o := range settled {
		x.inflight.mu.Lock()
		p := x.inflight.held[o.Sequence]
		x.inflight.mu.Unlock()
		if p == nil {
			continue // of a connection before the last
		}
		if err := x.settle(ctx, p, o); err != nil {
			return err
		}
		x.drop(o.Sequence)
		if !x.conf.Ordered {
			x.give(1)
		}
	}
	for _, seq := range touched {
		x.inflight.mu.Lock()
		p := x.inflight.held[seq]
		x.inflight.mu.Unlock()
		if p != nil {
			_ = p.msg.InProgress() // a lost one makes the message come again, which the member knows
		}
	}
	return nil
}

func (x *session) settle(ctx context.Context, p *pending, o *pb.Settlement) error {
	const doing = "settle"
	switch {
	case o.Outcome == pb.Outcome_ACK:
		return jslog.Wrap(p.msg.Ack(), doing)
	case o.Outcome == pb.Outcome_REJECT, x.conf.MaxTries > 0 && p.try >= int(x.conf.MaxTries):
		dead := eventlog.DeadLetter(x.conf.Name, p.record, p.try, o.Reason)
		if _, err := x.stream.Append(ctx, []*pb.Record{dead}, nil); err != nil {
			return err
		}
		return jslog.Wrap(p.msg.Term(), doing)
	}
	return jslog.Wrap(p.msg.NakWithDelay(time.Duration(o.Delay)), doing)
}

// Leave implements event.Session.
func (x *session) Leave(ctx context.Context) error {
	x.cancel()
	x.fetchers.Wait()
	x.inflight.mu.Lock()
	for seq, p := range x.inflight.held {
		_ = p.msg.Nak() // without it the message comes again after AckWait
		delete(x.inflight.held, seq)
	}
	x.inflight.mu.Unlock()
	x.driver.mu.Lock()
	delete(x.driver.members, x.member)
	x.driver.mu.Unlock()
	return jslog.Wrap(x.driver.conn.FlushWithContext(ctx), "leave stream "+x.stream.Name())
}

// Close implements event.Session.
func (x *session) Close() {
	x.closing.Do(func() {
		x.cancel()
		x.driver.failed(x.stream) // opened again, it may be a new one
	})
}
