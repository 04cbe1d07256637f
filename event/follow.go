package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
)

// reconnectMax bounds the wait between two attempts to reach the log.
const reconnectMax = 5 * time.Second

// Subscribe implements Event.
func (p *Plugin) Subscribe(ctx context.Context, h Handler, types ...string) error {
	f := func(_ context.Context, d *Delivery) error {
		h(d.Record)
		return nil
	}
	return p.consume(ctx, newConsumeOptions(Types(types...)), func(ctx context.Context, o ConsumeOptions) error {
		follower := newFollower(p, f, o)
		follower.goesOn = true
		return follower.run(ctx)
	})
}

// Consume implements Event.
func (p *Plugin) Consume(ctx context.Context, c Consumer, opts ...ConsumeOption) error {
	return p.consume(ctx, newConsumeOptions(opts...), func(ctx context.Context, o ConsumeOptions) error {
		if o.Name == "" {
			return newFollower(p, c, o).run(ctx)
		}
		if err := newMember(p, c, o).run(ctx); err != nil {
			return fmt.Errorf("event: consume: %w", err)
		}
		return nil
	})
}

// consume runs a subscription until it, ctx or the plugin ends.
func (p *Plugin) consume(ctx context.Context, o ConsumeOptions, run func(context.Context, ConsumeOptions) error) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.handlers.Done()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.Life(), cancel)()
	err := run(inner, o)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case p.Life().Err() != nil:
		return fmt.Errorf("event: consume: %w", ErrStopped)
	}
	return err
}

// connection tells of one end of a subscription: when the log is lost and when
// it is back.
type connection struct {
	plugin *Plugin
	what   string
	wait   backoff.Backoff
	lost   bool
	heard  bool // since the last attempt
}

func newConnection(p *Plugin, o ConsumeOptions) connection {
	what := "subscription"
	if o.Name != "" {
		what += " " + o.Name
	}
	return connection{plugin: p, what: what, wait: backoff.Backoff{Max: reconnectMax}}
}

func (c *connection) up() {
	c.wait.Reset()
	c.heard = true
	if c.lost {
		c.plugin.logger().Info("event: " + c.what + " goes on")
		c.lost = false
	}
}

// down waits before the next attempt.
func (c *connection) down(ctx context.Context, err error) error {
	// A stream that ended with its token is opened with the next one.
	ended := c.heard && errors.Is(err, rpcerr.ErrUnauthenticated)
	c.heard = false
	if !c.lost && !ended && ctx.Err() == nil {
		c.plugin.logger().Warn("event: "+c.what+" lost its log, will reconnect", "error", err)
		c.lost = true
	}
	return c.wait.Wait(ctx)
}

// follower is a subscription that nobody but itself remembers.
type follower struct {
	connection
	handler *guard
	types   []string
	from    plugin.Position
	goesOn  bool  // after a failure of the handler
	failure error // of the handler; it ends the subscription
}

func newFollower(p *Plugin, c Consumer, o ConsumeOptions) *follower {
	f := &follower{connection: newConnection(p, o), types: o.Types}
	f.handler = &guard{plugin: p, what: f.what, consumer: c}
	f.from = plugin.Position{Start: pb.Start(o.Start), Sequence: o.Sequence}
	if o.Start == StartTime {
		f.from.Time = o.Time.UnixNano()
	}
	return f
}

// errHandler stands for the error of a handler, whose methods may panic, while it
// passes a driver.
var errHandler = errors.New("the handler failed")

func (f *follower) run(ctx context.Context) error {
	defer f.handler.over()
	for {
		err := f.plugin.driver.Follow(ctx, f.from, f.types, func(page *plugin.Page) error { return f.page(ctx, page) })
		switch {
		case f.failure != nil:
			return f.failure
		case errors.Is(err, ErrInvalid):
			return fmt.Errorf("event: consume: %w", err)
		}
		if err := f.down(ctx, err); err != nil {
			return err
		}
	}
}

func (f *follower) page(ctx context.Context, page *plugin.Page) error {
	f.up()
	if f.from.Log != "" && page.Log != "" && page.Log != f.from.Log {
		f.plugin.logger().Warn("event: the log is a new one and is read from its beginning")
	}
	if page.Log != "" {
		f.from.Log = page.Log
	}
	if page.Skipped > 0 {
		f.plugin.skip(page.Skipped)
	}
	for _, m := range page.Records {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := &Delivery{Record: fromMessage(m), Try: 1}
		if page.Last > m.Sequence {
			d.Lag = page.Last - m.Sequence
		}
		if err := f.handler.handle(ctx, d); err != nil && !f.goesOn {
			f.failure = err
			return errHandler
		}
		f.from.Start, f.from.Sequence = pb.Start_SEQUENCE, m.Sequence+1
	}
	f.from.Start, f.from.Sequence = pb.Start_SEQUENCE, page.Cursor+1
	return nil
}

// skip counts records that a subscription can no longer get.
func (p *Plugin) skip(n uint64) {
	p.skipped.Add(int(n))
	p.logger().Warn("event: records were removed before they were read", "records", n)
}
