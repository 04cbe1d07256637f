// Package nats is event on a stream of NATS JetStream, without event-srv. The
// option Servers says where NATS is, Stream names the stream, which is made
// when there is none: in a file, for ever, one replica. Make it beforehand to
// have it otherwise.
package nats

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/jslog"
)

// NewEvent returns an Event on JetStream. It does no I/O before Start.
func NewEvent(opts ...event.Option) event.Event {
	o := event.NewOptions(opts...)
	return event.NewPlugin("nats", &driver{options: o, members: make(map[string]*inflight)}, o)
}

// dedupeWindow is how long a stream that we make knows ids.
const dedupeWindow = time.Hour

type driver struct {
	options event.Options
	conn    *nats.Conn

	mu      sync.Mutex
	opened  *jslog.Stream
	members map[string]*inflight
}

// Start implements event.Driver.
func (d *driver) Start() error {
	nc, err := jslog.Connect(d.options.Servers, d.options.TLS, d.options.Origin)
	d.conn = nc
	return err
}

// Stop implements event.Driver.
func (d *driver) Stop() error {
	d.conn.Close()
	return nil
}

// stream opens the stream, again when it was lost.
func (d *driver) stream(ctx context.Context) (*jslog.Stream, error) {
	d.mu.Lock()
	s := d.opened
	d.mu.Unlock()
	if s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	s, err := jslog.Open(ctx, d.conn, jslog.Config{Name: d.options.Stream, Window: dedupeWindow})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.opened = s
	d.mu.Unlock()
	return s, nil
}

// failed has the stream opened anew by whoever needs it next.
func (d *driver) failed(s *jslog.Stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened == s {
		d.opened = nil
	}
}

// Append implements event.Driver.
func (d *driver) Append(ctx context.Context, records []*pb.Record) ([]*pb.Result, error) {
	s, err := d.stream(ctx)
	if err != nil {
		return nil, err
	}
	results, err := s.Append(ctx, records, nil)
	if err != nil {
		d.failed(s)
	}
	return results, err
}

const (
	pageSize  = 256
	pageBytes = 4 << 20
	lifeSign  = 2 * time.Second
)

// Follow implements event.Driver.
func (d *driver) Follow(ctx context.Context, from event.Position, types []string, deliver func(*event.Page) error) error {
	filter, err := event.NewFilter(types...)
	if err != nil {
		return err
	}
	s, err := d.stream(ctx)
	if err != nil {
		return err
	}
	f := &follower{driver: d, stream: s, filter: filter, deliver: deliver}
	if err := f.begin(ctx, from); err != nil {
		d.failed(s)
		return err
	}
	err = f.follow(ctx)
	if ctx.Err() == nil {
		d.failed(s)
	}
	return err
}

type follower struct {
	driver  *driver
	stream  *jslog.Stream
	filter  event.Filter
	deliver func(*event.Page) error
	cursor  uint64
	last    uint64
}

// begin finds the cursor and tells it.
func (f *follower) begin(ctx context.Context, from event.Position) error {
	ctx, cancel := context.WithTimeout(ctx, f.driver.options.Timeout)
	defer cancel()
	expired, last, err := f.stream.Bounds(ctx)
	if err != nil {
		return err
	}
	f.last = last
	switch from.Start {
	case pb.Start_BEGINNING:
		f.cursor = expired
	case pb.Start_TIME:
		f.cursor, err = f.stream.Before(ctx, from.Time)
	case pb.Start_SEQUENCE:
		f.cursor = from.Sequence - 1
		if from.Log != "" && from.Log != f.stream.ID() {
			f.cursor = expired
		}
	default:
		f.cursor = last
	}
	if err != nil {
		return err
	}
	page := &event.Page{Log: f.stream.ID(), Last: last}
	if f.cursor < expired {
		page.Skipped = expired - f.cursor
		f.cursor = expired
	}
	page.Cursor = f.cursor
	return f.deliver(page)
}

func (f *follower) follow(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, f.driver.options.Timeout)
	c, err := f.stream.Consumer(starting, f.stream.Filter(f.filter, "*"), jslog.After(f.cursor))
	cancel()
	if err != nil {
		return err
	}
	defer f.stream.Forget(c)
	expected := uint64(0) // place of the last message within the consumer
	for {
		if err := f.fetch(ctx, c, &expected); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !f.driver.conn.IsConnected() {
			return fmt.Errorf("%w: not connected to NATS", event.ErrUnavailable)
		}
	}
}

// fetch hands over what comes within lifeSign. place is that of the last
// message within the consumer.
func (f *follower) fetch(ctx context.Context, c jetstream.Consumer, place *uint64) error {
	doing := "follow stream " + f.stream.Name()
	d, before := f.driver, *place
	within, cancel := context.WithTimeout(ctx, lifeSign)
	defer cancel()
	batch, err := c.Fetch(pageSize, jetstream.FetchContext(within))
	if err != nil {
		return jslog.Wrap(err, doing)
	}
	for msg := range batch.Messages() {
		page, at, err := f.page(msg)
		if err != nil {
			return err
		}
		if at != *place+1 { // read on from the cursor
			return fmt.Errorf("%s: %w: messages were lost on the way", doing, event.ErrUnavailable)
		}
		*place = at
		if err := f.deliver(page); err != nil {
			return err
		}
	}
	if err := batch.Error(); err != nil && within.Err() == nil {
		return jslog.Wrap(err, doing)
	}
	if ctx.Err() == nil && *place == before {
		return d.exists(ctx, c, doing)
	}
	return nil
}

// exists tells whether the server knows the consumer: one that restarted
// answers nothing at all to those who ask for messages of one it forgot.
func (d *driver) exists(ctx context.Context, c jetstream.Consumer, doing string) error {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	_, err := c.Info(ctx)
	return jslog.Wrap(err, doing)
}

func (f *follower) page(msg jetstream.Msg) (*event.Page, uint64, error) {
	r, meta, err := jslog.Decode(msg)
	if meta == nil {
		return nil, 0, jslog.Wrap(err, "follow stream "+f.stream.Name())
	}
	seq := meta.Sequence.Stream
	f.cursor, f.last = seq, seq+meta.NumPending
	page := &event.Page{Log: f.stream.ID(), Cursor: seq, Last: f.last}
	switch {
	case err != nil:
		page.Skipped = 1 // somebody else's message: say so
	case f.filter.Match(r.Type):
		page.Records = []*pb.Record{r}
	}
	return page, meta.Sequence.Consumer, nil
}
