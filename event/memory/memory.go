// Package memory is event with a log in the process, for tests: everything
// works as with event-srv, and nothing is kept.
package memory

import (
	"context"
	"log/slog"
	"sync"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// NewEvent returns an Event with a log of its own.
func NewEvent(opts ...event.Option) event.Event { return NewLog().NewEvent(opts...) }

// Log is a log that several Events share.
type Log struct {
	store *eventlog.Memory

	mu    sync.Mutex
	users int
	log   *eventlog.Log
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{store: eventlog.NewMemory()} }

// NewEvent returns an Event on the log, which outlives it.
func (l *Log) NewEvent(opts ...event.Option) event.Event {
	o := event.NewOptions(opts...)
	return event.NewPlugin("memory", &driver{shared: l, logger: o.Logger}, o)
}

func (l *Log) open(logger *slog.Logger) (*eventlog.Log, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 {
		log, err := eventlog.Open(context.Background(), l.store, eventlog.Config{Logger: logger})
		if err != nil {
			return nil, err
		}
		l.log = log
	}
	l.users++
	return l.log, nil
}

func (l *Log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users > 0 {
		return nil
	}
	return l.log.Stop()
}

type driver struct {
	shared *Log
	logger *slog.Logger
	log    *eventlog.Log
}

// Start implements plugin.Driver.
func (d *driver) Start() (err error) {
	d.log, err = d.shared.open(d.logger)
	return err
}

// Stop implements plugin.Driver.
func (d *driver) Stop() error { return d.shared.close() }

// Append implements plugin.Driver.
func (d *driver) Append(ctx context.Context, records []*pb.Record) ([]*pb.Result, error) {
	return d.log.Create(ctx, records)
}

// Follow implements plugin.Driver.
func (d *driver) Follow(ctx context.Context, from plugin.Position, types []string, deliver func(*plugin.Page) error) error {
	filter, err := plugin.NewFilter(types...)
	if err != nil {
		return err
	}
	cursor, err := d.log.Resolve(ctx, from.Start, from.Sequence, from.Time, from.Log)
	if err != nil {
		return err
	}
	return d.log.Follow(ctx, cursor, filter, 256, deliver)
}

// Join implements plugin.Driver.
func (d *driver) Join(ctx context.Context, m plugin.Membership) (plugin.Session, error) {
	member, err := d.log.Join(ctx, m)
	if err != nil {
		return nil, err
	}
	return &session{member, d.log.ID()}, nil
}

type session struct {
	*eventlog.Member
	log string
}

// Log implements plugin.Session.
func (s *session) Log() string { return s.log }

// Recv implements plugin.Session.
func (s *session) Recv(ctx context.Context) ([]*pb.Delivery, uint64, error) { return s.Next(ctx) }

// Settle implements plugin.Session.
func (s *session) Settle(_ context.Context, settled []*pb.Settlement, touched []uint64) error {
	s.Member.Settle(settled, touched)
	return nil
}

// Close implements plugin.Session.
func (s *session) Close() { s.Detach() }
