package nats

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/internal/jslog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
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
	heard  time.Time // when the member last said that it is on it
}

// hold notes a delivery and reports whether the member has it already.
func (f *inflight) hold(p *pending) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	had := f.held[p.record.Sequence]
	if had != nil {
		p.heard = had.heard
	}
	f.held[p.record.Sequence] = p
	return had != nil
}

// hangs reports whether the member does not hold the record, or has said nothing
// of it for so long that it comes again for that reason.
func (f *inflight) hangs(seq uint64, ackWait time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.held[seq]
	return p == nil || time.Since(p.heard) > ackWait/2
}

func (f *inflight) get(seq uint64) *pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[seq]
}

// drop forgets a delivery and reports whether it was held.
func (f *inflight) drop(seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, had := f.held[seq]
	delete(f.held, seq)
	return had
}

// touch notes that the member is on it.
func (f *inflight) touch(seq uint64) *pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.held[seq]
	if p != nil {
		p.heard = time.Now()
	}
	return p
}

// session is a connection of a member: one durable consumer, or one for each
// part when keys are to be kept in order, with one delivery underway in each.
type session struct {
	driver   *driver
	stream   *jslog.Stream
	conf     *pb.Subscription
	ordered  bool // as the consumers are, whatever conf says
	filter   plugin.Filter
	skipped  func(uint64)
	inflight *inflight
	arrived  chan *pb.Delivery
	room     chan struct{} // a token for each delivery that may come
	broken   chan error
	cancel   context.CancelFunc
	fetchers sync.WaitGroup
	closing  sync.Once

	mu     sync.Mutex
	lag    uint64
	missed uint64 // what retention removed is told up to here
}

// maxPending bounds the deliveries of a subscription that are not settled.
const maxPending = 4096

// pullWait is how long one request to the server lives: a member that leaves waits
// for it, so that no message is sent to a member that is gone.
const pullWait = time.Second

// Join implements plugin.Driver.
func (d *driver) Join(ctx context.Context, m plugin.Membership) (plugin.Session, error) {
	filter, err := plugin.NewFilter(m.Conf.Types...)
	if err != nil {
		return nil, err
	}
	s, err := d.stream(ctx)
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	all, ordered, err := d.join(starting, s, m, filter)
	if err != nil {
		d.failed(s)
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	x := &session{
		driver: d, stream: s, conf: m.Conf, ordered: ordered, filter: filter, skipped: m.Skipped, cancel: end,
		inflight: d.inflight(ctx, m.Member),
		arrived:  make(chan *pb.Delivery), broken: make(chan error, len(all)), room: make(chan struct{}, m.Credit),
	}
	x.keep(m)
	for _, c := range all {
		x.fetchers.Go(func() { x.broken <- x.fetch(life, c) })
	}
	return x, nil
}

// inflight returns what the member holds. It is kept until ctx ends, and with it
// the member: one that comes back before had only lost its connection.
func (d *driver) inflight(ctx context.Context, member string) *inflight {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.members[member]
	if f == nil {
		f = &inflight{held: make(map[uint64]*pending)}
		d.members[member] = f
		context.AfterFunc(ctx, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.members, member)
		})
	}
	return f
}

// keep forgets what the member does not hold any more.
func (x *session) keep(m plugin.Membership) {
	held := make(map[uint64]bool, len(m.Held))
	for _, seq := range m.Held {
		held[seq] = m.Log == x.stream.ID()
	}
	x.inflight.mu.Lock()
	defer x.inflight.mu.Unlock()
	for seq, p := range x.inflight.held {
		p.heard = time.Now()
		if !held[seq] {
			delete(x.inflight.held, seq)
		}
	}
	for range m.Credit - min(len(x.inflight.held), m.Credit) {
		x.room <- struct{}{}
	}
}

// Log implements plugin.Session.
func (x *session) Log() string { return x.stream.ID() }

func (x *session) doing() string { return "consume from stream " + x.stream.Name() }

// fetch asks the consumer for as many messages as there is room for.
func (x *session) fetch(ctx context.Context, c jetstream.Consumer) error {
	at := c.CachedInfo().Delivered
	for idle := 0; ; {
		n := x.take(ctx)
		if n == 0 {
			return ctx.Err()
		}
		batch, err := c.Fetch(n, jetstream.FetchMaxWait(pullWait))
		if err != nil {
			return jslog.Wrap(err, x.doing())
		}
		came, err := x.messages(ctx, batch, n, &at)
		if err != nil {
			return err
		}
		if err := batch.Error(); err != nil {
			return jslog.Wrap(err, x.doing())
		}
		if err := x.stream.Connected(); err != nil {
			return err
		}
		if idle++; came > 0 {
			idle = 0
		}
		if idle%idleLook == idleLook-1 {
			if err := x.look(ctx, c, &at); err != nil {
				return err
			}
		}
	}
}

// idleLook is after how many requests without an answer the consumer is looked
// at.
const idleLook = 5

// look finds out how far the others are, and whether the consumer is there: a
// server that restarted does not answer requests for messages of a consumer that
// it forgot.
func (x *session) look(ctx context.Context, c jetstream.Consumer, at *jetstream.SequenceInfo) error {
	ctx, cancel := context.WithTimeout(ctx, x.driver.options.Timeout)
	defer cancel()
	info, err := c.Info(ctx)
	if err != nil {
		return jslog.Wrap(err, x.doing())
	}
	*at = info.Delivered
	return x.displaced(ctx)
}

// take waits for room and takes what there is, up to a page. The parts of an
// ordered subscription need none: each has one delivery underway.
func (x *session) take(ctx context.Context) (n int) {
	if x.ordered {
		return 1
	}
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

// give returns tokens, of which there are never more than the credit.
func (x *session) give(n int) {
	if x.ordered {
		return
	}
	for range n {
		select {
		case x.room <- struct{}{}:
		default: // more were held than there is credit
		}
	}
}

// messages hands over a batch, for which it has n tokens, and tells how many
// messages it had. When the session ends meanwhile what is left of it goes
// back.
func (x *session) messages(ctx context.Context, batch jetstream.MessageBatch, n int, at *jetstream.SequenceInfo) (came int, _ error) {
	var strange []jetstream.Msg // that are not for this member, as far as is known
	messages := batch.Messages()
	for ; ; came++ {
		var msg jetstream.Msg
		var ok bool
		select {
		case msg, ok = <-messages:
		case <-ctx.Done():
			for msg := range messages { // for as long as the server may send
				strange = append(strange, msg)
			}
			for _, msg := range strange {
				_ = msg.Nak() // without it the message comes again after AckWait
			}
			return came, ctx.Err()
		}
		if !ok {
			x.give(n)
			return came, x.passOver(ctx, strange)
		}
		if meta, err := msg.Metadata(); err == nil {
			if err := x.gap(ctx, meta, at, came == 0); err != nil {
				return came, err
			}
		}
		r, meta, err := jslog.Decode(msg)
		if err != nil || !x.filter.Match(r.Type) {
			strange = append(strange, msg)
			continue
		}
		d, again, err := x.delivery(ctx, msg, r, meta)
		switch {
		case err != nil:
			return came, err
		case d == nil:
			continue
		case !again: // else it has the token of the first time
			n--
		}
		select {
		case x.arrived <- d:
		case <-ctx.Done():
			x.inflight.drop(d.Record.Sequence)
			_ = msg.Nak() // as above
		}
	}
}

// passOver settles messages that are not for the member: the one subject of the
// consumers selects more than its types. But for members with other types that have
// taken the consumers over meanwhile they are: so it looks after they came.
func (x *session) passOver(ctx context.Context, strange []jetstream.Msg) error {
	if len(strange) == 0 {
		return nil
	}
	displaced := x.displaced(ctx)
	for _, msg := range strange {
		if displaced != nil {
			_ = msg.Nak() // if this fails the others get it after AckWait
		} else {
			_ = msg.Term() // else it comes again, and is terminated then
		}
	}
	return displaced
}

// gap tells what retention removed between the last message that was delivered
// to anybody, as far as is known, and the first of a batch.
func (x *session) gap(ctx context.Context, meta *jetstream.MsgMetadata, at *jetstream.SequenceInfo, first bool) error {
	last, seq := *at, meta.Sequence
	at.Consumer, at.Stream = seq.Consumer, max(last.Stream, seq.Stream)
	if !first || seq.Consumer != last.Consumer+1 || seq.Stream <= last.Stream+1 {
		return nil
	}
	x.mu.Lock()
	after := max(last.Stream, x.missed) // of another part
	x.mu.Unlock()
	if after >= seq.Stream {
		return nil
	}
	n, err := x.driver.removed(ctx, x.stream, after, seq.Stream)
	if err != nil || n == 0 {
		return err
	}
	x.mu.Lock()
	x.missed = after + n
	x.mu.Unlock()
	x.skipped(n)
	return nil
}

// delivery makes a record what a member gets, and reports whether it got it before.
// What nobody settles, because it kills whoever handles it, ends here.
func (x *session) delivery(ctx context.Context, msg jetstream.Msg, r *pb.Record, meta *jetstream.MsgMetadata) (d *pb.Delivery, again bool, _ error) {
	x.mu.Lock()
	x.lag = meta.NumPending
	x.mu.Unlock()
	p := &pending{msg: msg, record: r, try: int(meta.NumDelivered), heard: time.Now()}
	if most := int(x.conf.MaxTries); most > 0 && p.try > most && x.inflight.hangs(r.Sequence, time.Duration(x.conf.AckWait)) {
		if err := x.bury(ctx, p, p.try-1, "was not settled in time"); err != nil {
			return nil, false, err
		}
		if x.inflight.drop(r.Sequence) {
			x.give(1)
		}
		return nil, false, nil
	}
	again = x.inflight.hold(p)
	return &pb.Delivery{Record: r, Try: int32(p.try)}, again, nil
}

// Recv implements plugin.Session.
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
	x.mu.Lock()
	lag := x.lag
	x.mu.Unlock()
	x.inflight.mu.Lock()
	lag += uint64(len(x.inflight.held))
	x.inflight.mu.Unlock()
	return all, lag, nil
}

// Settle implements plugin.Session.
func (x *session) Settle(ctx context.Context, settled []*pb.Settlement, touched []uint64) error {
	for _, o := range settled {
		p := x.inflight.get(o.Sequence)
		if p == nil {
			continue // of a connection before the last, or buried
		}
		if err := x.settle(ctx, p, o); err != nil {
			return err
		}
		if x.inflight.drop(o.Sequence) {
			x.give(1)
		}
	}
	for _, seq := range touched {
		if p := x.inflight.touch(seq); p != nil {
			_ = p.msg.InProgress() // a lost one makes the message come again, which the member knows
		}
	}
	return nil
}

const settling = "settle"

func (x *session) settle(ctx context.Context, p *pending, o *pb.Settlement) error {
	switch {
	case o.Outcome == pb.Outcome_ACK:
		return jslog.Wrap(p.msg.Ack(), settling)
	case o.Outcome == pb.Outcome_REJECT, x.conf.MaxTries > 0 && p.try >= int(x.conf.MaxTries):
		return x.bury(ctx, p, p.try, o.Reason)
	}
	return jslog.Wrap(p.msg.NakWithDelay(time.Duration(o.Delay)), settling)
}

// bury appends the dead letter before it settles the record.
func (x *session) bury(ctx context.Context, p *pending, tries int, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, x.driver.options.Timeout)
	defer cancel()
	dead := eventlog.DeadLetter(x.conf.Name, p.record, tries, reason)
	results, err := x.stream.Append(ctx, []*pb.Record{dead}, nil)
	if err != nil {
		return err
	}
	if text := results[0].Error; text != "" {
		return fmt.Errorf("%w: dead letter: %s", event.ErrUnavailable, text)
	}
	return jslog.Wrap(p.msg.Term(), settling)
}

// Leave implements plugin.Session.
func (x *session) Leave(ctx context.Context) error {
	x.cancel()
	x.fetchers.Wait()
	x.inflight.mu.Lock()
	for seq, p := range x.inflight.held {
		_ = p.msg.Nak() // without it the message comes again after AckWait
		delete(x.inflight.held, seq)
	}
	x.inflight.mu.Unlock()
	return jslog.Wrap(x.driver.js.Conn().FlushWithContext(ctx), "leave stream "+x.stream.Name())
}

// Close implements plugin.Session.
func (x *session) Close() {
	x.closing.Do(func() {
		x.cancel()
		x.driver.failed(x.stream) // opened again, it may be a new one
	})
}
