// Package nats is event on a stream of NATS JetStream, without event-srv. The
// option event.Servers says where NATS is, Stream names the stream. A stream that
// is not there is created with file storage, one replica and no retention limits;
// create it beforehand to have it otherwise.
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
	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/option"
)

// DefaultStream is the default of Stream.
const DefaultStream = "micro-event"

type streamKey struct{}

// lingerKey is that of driver.linger for a test that cannot wait so long.
type lingerKey struct{}

// Stream sets the name of the stream, 1 to 64 letters, digits, - and _; the
// default is DefaultStream.
func Stream(name string) event.Option {
	return func(o *event.Options) { o.Context = context.WithValue(o.Context, streamKey{}, name) }
}

// NewEvent returns an Event on JetStream. It does no I/O.
func NewEvent(opts ...event.Option) event.Event {
	o := event.NewOptions(opts...)
	d := &driver{options: o, name: DefaultStream, members: make(map[string]*inflight), absent: make(absences), linger: eventlog.Linger}
	if name, ok := o.Context.Value(streamKey{}).(string); ok {
		d.name = name
	}
	if linger, ok := o.Context.Value(lingerKey{}).(time.Duration); ok {
		d.linger = linger
	}
	return event.NewPlugin("nats", d, o)
}

// dedupeWindow is how long a stream that we make knows ids.
const dedupeWindow = time.Hour

type driver struct {
	options event.Options
	name    string        // of the stream
	linger  time.Duration // how long records wait for members that left, while others wait
	js      jetstream.JetStream

	mu      sync.Mutex
	opened  *jslog.Stream
	members map[string]*inflight
	absent  absences
}

// Start implements plugin.Driver.
func (d *driver) Start() error {
	c := option.Of("event")
	c.That(wire.StreamName(d.name), "Stream", "%.80q is not 1 to 64 letters, digits, - and _", d.name)
	if err := c.Err(); err != nil {
		return err
	}
	js, err := jslog.Connect(d.options.Servers, d.options.TLS, d.options.Origin)
	d.js = js
	return err
}

// Stop implements plugin.Driver.
func (d *driver) Stop() error {
	d.js.Conn().Close()
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
	s, err := jslog.Open(ctx, d.js, jslog.Config{Name: d.name, Window: dedupeWindow})
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

// Append implements plugin.Driver.
func (d *driver) Append(ctx context.Context, records []*pb.Record) ([]*pb.Result, error) {
	s, err := d.stream(ctx)
	if err != nil {
		return nil, err
	}
	results, err := s.Append(ctx, records, nil)
	if err == nil {
		err = compare(ctx, s, records, results)
	}
	if err != nil {
		d.failed(s)
	}
	return results, err
}

// compare refuses records that count as duplicates but differ from the event that
// has their id.
func compare(ctx context.Context, s *jslog.Stream, records []*pb.Record, results []*pb.Result) error {
	for i, r := range results {
		if r.Error != "" || !r.Duplicate {
			continue
		}
		first, err := s.Get(ctx, r.Sequence)
		if err != nil {
			return err
		}
		if first != nil && !wire.Same(first, records[i]) {
			results[i] = &pb.Result{Error: fmt.Sprintf("record %s: the log has another one of this id, at %d", records[i].Id, r.Sequence), Conflict: true}
		}
	}
	return nil
}

const (
	pageSize = 256
	lifeSign = 2 * time.Second
)

// Follow implements plugin.Driver.
func (d *driver) Follow(ctx context.Context, from plugin.Position, types []string, deliver func(*plugin.Page) error) error {
	filter, err := plugin.NewFilter(types...)
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
	filter  plugin.Filter
	deliver func(*plugin.Page) error
	cursor  uint64
	place   uint64 // of the last message within the consumer
}

// begin finds the cursor and tells it.
func (f *follower) begin(ctx context.Context, from plugin.Position) error {
	ctx, cancel := context.WithTimeout(ctx, f.driver.options.Timeout)
	defer cancel()
	expired, last, err := f.stream.Bounds(ctx)
	if err != nil {
		return err
	}
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
	page := &plugin.Page{Log: f.stream.ID(), Last: last}
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
	f.place = 0
	for {
		if err := f.fetch(ctx, c); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.stream.Connected(); err != nil {
			return err
		}
	}
}

// fetch hands over what comes within lifeSign.
func (f *follower) fetch(ctx context.Context, c jetstream.Consumer) error {
	within, cancel := context.WithTimeout(ctx, lifeSign)
	defer cancel()
	batch, err := c.Fetch(pageSize, jetstream.FetchContext(within))
	if err != nil {
		return jslog.Wrap(err, f.doing())
	}
	before := f.place
	for msg := range batch.Messages() {
		page, err := f.page(ctx, msg, f.place == before)
		if err != nil {
			return err
		}
		if err := f.deliver(page); err != nil {
			return err
		}
	}
	if err := batch.Error(); err != nil && within.Err() == nil {
		return jslog.Wrap(err, f.doing())
	}
	if ctx.Err() == nil && f.place == before {
		return f.quiet(ctx, c)
	}
	return nil
}

func (f *follower) doing() string { return "follow stream " + f.stream.Name() }

func (f *follower) lost() error { // it is read on from the cursor
	return fmt.Errorf("%s: %w: messages were lost on the way", f.doing(), event.ErrUnavailable)
}

// page is what a message becomes. What retention removed before the server
// sent it shows as a gap before the first message of those it was asked for.
func (f *follower) page(ctx context.Context, msg jetstream.Msg, first bool) (*plugin.Page, error) {
	r, meta, err := jslog.Decode(msg)
	if meta == nil {
		return nil, jslog.Wrap(err, f.doing())
	}
	if meta.Sequence.Consumer != f.place+1 {
		return nil, f.lost()
	}
	seq := meta.Sequence.Stream
	page := &plugin.Page{Log: f.stream.ID(), Cursor: seq, Last: seq + meta.NumPending}
	switch {
	case err != nil:
		page.Skipped = 1 // somebody else's message: say so
	case f.filter.Match(r.Type):
		page.Records = []*pb.Record{r}
	}
	if first && seq > f.cursor+1 {
		removed, err := f.driver.removed(ctx, f.stream, f.cursor, seq)
		if err != nil {
			return nil, err
		}
		page.Skipped += removed
	}
	f.place, f.cursor = meta.Sequence.Consumer, seq
	return page, nil
}

// removed returns how many records between two sequences retention removed.
func (d *driver) removed(ctx context.Context, s *jslog.Stream, after, before uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	expired, _, err := s.Bounds(ctx)
	return max(min(expired, before-1), after) - after, err
}

// quiet tells how far the log was looked at when nothing came. It also asks
// whether the server knows the consumer: a server that restarted does not answer
// requests for messages of a consumer that it forgot.
func (f *follower) quiet(ctx context.Context, c jetstream.Consumer) error {
	ctx, cancel := context.WithTimeout(ctx, f.driver.options.Timeout)
	defer cancel()
	expired, last, err := f.stream.Bounds(ctx)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	switch {
	case err != nil:
		return jslog.Wrap(err, f.doing())
	case info.Delivered.Consumer != f.place:
		return f.lost()
	case info.NumPending > 0:
		return nil // it is on its way
	}
	page := &plugin.Page{Log: f.stream.ID(), Last: last, Skipped: max(expired, f.cursor) - f.cursor}
	f.cursor = max(f.cursor, last)
	page.Cursor = f.cursor
	return f.deliver(page)
}
