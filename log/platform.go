package log

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// platform is the Log: the root Logger and the life of what it writes to.
type platform struct {
	*life
	logger

	mu      sync.Mutex // serialises Init and Stop
	invalid error      // of the options given to NewLog
}

// core is what all Loggers of a Log share.
type core struct {
	life  *lifecycle.Plugin
	begun atomic.Bool // the first event has tried to start the Log
	level atomic.Int32
	state atomic.Pointer[state] // replaced by Init, never changed
	clock clock
	pool  sync.Pool // of *scratch
}

type state struct {
	opts     Options
	outs     []*output
	fallback bool // outs is the default file, to be replaced by the first output given
	fields   *fieldSet
	redact   redaction
}

// scratch is what it takes to emit one event.
type scratch struct {
	event  Event
	fields Fields // of an event with fields of its own
	extra  []Field
}

// NewLog returns a Log. It does no I/O.
func NewLog(opts ...Option) Log { return newPlatform(opts) }

func newPlatform(opts []Option) *platform {
	p := &platform{logger: logger{core: &core{}}}
	o := NewOptions(opts...)
	p.invalid = o.Validate()
	o = o.repaired()
	p.life = lifecycle.NewPlugin("log", lifecycle.Hooks{
		Check: func() error { return p.invalid },
		Open:  func(context.Context) error { return p.core.state.Load().start() },
	})
	p.core.life = p.life
	p.core.pool.New = func() any { return &scratch{fields: make(Fields, 8)} }
	p.core.level.Store(int32(o.Level))
	p.core.state.Store(newState(o, nil))
	return p
}

// newState keeps the outputs, with their counts, that old has already.
func newState(o Options, old *state) *state {
	s := &state{opts: o, redact: o.Redact, fallback: len(o.Outputs) == 0}
	s.fields = new(fieldSet)
	s.fields.init(s.redact.merge(nil, o.Fields), nil)
	if s.fallback && old != nil {
		s.outs = old.outs
		return s
	}
	if s.fallback {
		s.outs = []*output{newOutput(NewOutput(), o.Logger)}
		return s
	}
	if old != nil && !old.fallback {
		s.outs = append(s.outs, old.outs[:min(len(old.outs), len(o.Outputs))]...)
	}
	for _, out := range o.Outputs[len(s.outs):] {
		s.outs = append(s.outs, newOutput(out, o.Logger))
	}
	return s
}

func (p *platform) Init(opts ...Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.core.state.Load()
	current := old.opts
	current.Level = p.Level()
	o := current.apply(opts)
	if err := o.Validate(); err != nil {
		return err
	}
	s := newState(o, old)
	p.core.state.Store(s)
	if o.Level != current.Level { // else a SetLevel meanwhile would be undone
		p.core.level.Store(int32(o.Level))
	}
	var err error
	if old.fallback && !s.fallback {
		err = old.outs[0].close()
	}
	if p.Running() {
		err = errors.Join(err, s.start())
	}
	if p.Life().Err() != nil { // stopped
		err = errors.Join(err, s.close())
	}
	return err
}

func (p *platform) Options() Options {
	o := p.core.state.Load().opts.apply(nil)
	o.Level = p.Level()
	return o
}

func (p *platform) SetLevel(level Level) error {
	if !level.valid() {
		return fmt.Errorf("log: set level: %w: %d is not within %d to %d", ErrInvalid, int(level), int(DebugLevel), int(FatalLevel))
	}
	p.core.level.Store(int32(level))
	return nil
}

func (p *platform) Level() Level { return Level(p.core.level.Load()) }

func (p *platform) Dropped() uint64 {
	var total uint64
	for _, out := range p.core.state.Load().outs {
		total += out.dropped()
	}
	return total
}

// Stop closes the outputs also when Start failed or never came: events were written
// to them all the same.
func (p *platform) Stop() error {
	err := p.life.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(err, p.core.state.Load().close())
}

func (p *platform) String() string { return "platform" }

func (s *state) start() error {
	var errs []error
	for _, out := range s.outs {
		errs = append(errs, out.start())
	}
	return errors.Join(errs...)
}

func (s *state) close() error { return s.each(closeBound, (*output).close) }

// each does one thing to all outputs at a time, so that one that hangs takes
// nothing from the others, and gives up on them after the bound.
func (s *state) each(bound time.Duration, do func(*output) error) error {
	results := make(chan error, len(s.outs))
	for _, out := range s.outs {
		go func() { results <- do(out) }()
	}
	timer := time.NewTimer(bound)
	defer timer.Stop()
	var errs []error
	for range s.outs {
		select {
		case err := <-results:
			errs = append(errs, err)
		case <-timer.C:
			return errors.Join(append(errs, fmt.Errorf("log: %w: an output did not end within %v", ErrLost, bound))...)
		}
	}
	return errors.Join(errs...)
}

// emit is the path of every event.
func (c *core) emit(held *fieldSet, level Level, at int64, message string, extra []Field) {
	if !c.life.Running() {
		c.begin()
	}
	s := c.state.Load()
	if held == nil {
		held = s.fields
	}
	x := c.pool.Get().(*scratch)
	e := &x.event
	e.Level, e.Timestamp, e.Message = level, at, cut(message, MaxMessage)
	e.Fields, e.known, e.held = held.fields, held.id, held
	if len(extra) > 0 {
		x.add(s.redact, held, extra)
	}
	if level == FatalLevel {
		c.fatal(s, e.Clone())
	} else {
		for _, out := range s.outs {
			out.send(e)
		}
	}
	x.reset()
	c.pool.Put(x)
}

// begin starts a new Log for its first event. It tries once: later events go to the
// outputs as they are.
func (c *core) begin() {
	if c.life.Life().Err() != nil || c.begun.Swap(true) {
		return
	}
	if err := c.life.Start(); err != nil && !errors.Is(err, ErrStopped) {
		c.state.Load().opts.Logger.Warn("the log does not start well", "error", err)
	}
}

// add gives the event fields of its own, in a map that is used again.
func (x *scratch) add(r redaction, held *fieldSet, extra []Field) {
	for k, v := range held.fields {
		x.fields[k] = v
	}
	left := 0
	for _, f := range extra {
		if r.put(x.fields, f.Key, f.Value) {
			x.extra = append(x.extra, Field{f.Key, x.fields[cut(f.Key, MaxKey)]})
		} else {
			left++
		}
	}
	noteLeft(x.fields, left)
	e := &x.event
	e.Fields, e.known, e.extra = x.fields, identity(x.fields), x.extra
	if len(x.fields) != len(held.fields)+len(extra) || left > 0 {
		e.known = nil // a name occurs twice: only the map is right
	}
}

// reset leaves alone what emit sets anew: clearing it would cost a tenth of an
// event.
func (x *scratch) reset() {
	if len(x.fields) > 0 {
		clear(x.extra)
		x.extra = x.extra[:0]
		clear(x.fields)
		x.event.extra = nil
	}
}

// fatal is the last event: it waits for room, flushes and ends the program.
func (c *core) fatal(s *state, e *Event) {
	err := s.each(lifecycle.FlushTimeout, func(out *output) error {
		out.sendWait(e)
		return out.flush()
	})
	if err != nil {
		s.opts.Logger.Error("log: fatal event may be lost", "error", err, "message", e.Message)
	}
	s.opts.Exit(1)
}

// waiter is what an output offers for events that are worth waiting for.
type waiter interface {
	SendWait(ctx context.Context, e *Event) error
}
