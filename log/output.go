package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

// closeBound is what an output may take to close: the flush and some slack.
const closeBound = lifecycle.FlushTimeout + time.Second

// output is an Output of a Log with the count of what it refused.
type output struct {
	Output
	logger  *slog.Logger
	counter loss.Dropper // the output's own count, or nil
	lost    atomic.Uint64
	failing atomic.Bool
	closed  atomic.Bool
}

func newOutput(out Output, logger *slog.Logger) *output {
	o := &output{Output: out, logger: logger}
	o.counter, _ = out.(loss.Dropper)
	return o
}

func (o *output) send(e *Event) {
	if o.closed.Load() {
		o.lost.Add(1)
		return
	}
	if err := o.try(e); err != nil || o.failing.Load() {
		o.note(err)
	}
}

// try is Send under recover: it is a user's code, and a line of log ends no program.
func (o *output) try(e *Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked("Send", p)
		}
	}()
	return o.Send(e)
}

// guarded is another method of the output under recover.
func guarded(what string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(what, p)
		}
	}()
	return do()
}

func panicked(what string, p any) error {
	return fmt.Errorf("its %s panics: %s", what, clean.Value(p, 1<<10))
}

// name is the output's String, which may panic, too.
func (o *output) name() (name string) {
	defer func() {
		if recover() != nil {
			name = fmt.Sprintf("%T", o.Output)
		}
	}()
	return o.String()
}

func (o *output) sendWait(e *Event) {
	w, ok := o.Output.(waiter)
	if !ok || o.closed.Load() {
		o.send(e)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	o.note(w.SendWait(ctx, e))
}

// note counts a refused event and tells of the first and the last of a row,
// unless the output does so itself.
func (o *output) note(err error) {
	switch {
	case o.counter != nil:
	case err != nil:
		o.lost.Add(1)
		if !o.failing.Swap(true) {
			o.logger.Warn("log output fails", "output", o.name(), "error", clean.Error(err, 1<<10))
		}
	case o.failing.Load():
		o.failing.Store(false)
		o.logger.Info("log output works again", "output", o.name(), "dropped", o.lost.Load())
	}
}

func (o *output) dropped() uint64 {
	if o.counter != nil {
		return o.counter.Dropped() + o.lost.Load()
	}
	return o.lost.Load()
}

func (o *output) start() error {
	if s, ok := o.Output.(interface{ Start() error }); ok {
		return o.wrap(guarded("Start", s.Start))
	}
	return nil
}

func (o *output) flush() error { return o.wrap(guarded("Flush", o.Flush)) }

// close ends the output for this Log: what is logged from now on is counted.
func (o *output) close() error {
	if o.closed.Swap(true) {
		return nil
	}
	if _, flushes := o.Output.(interface{ Start() error }); flushes {
		return o.wrap(guarded("Close", o.Close))
	}
	return o.wrap(errors.Join(guarded("Flush", o.Flush), guarded("Close", o.Close)))
}

// wrap adds the names of the package and the output to an error, once.
func (o *output) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &outputError{o.name(), err}
}

type outputError struct {
	output string
	err    error
}

func (e *outputError) Error() string {
	return "log: output " + e.output + ": " + strings.ReplaceAll(strings.TrimPrefix(text(e.err), "log: "), "\nlog: ", "\n")
}

// text is the lines of a user's error, whose Error may panic.
func text(err error) (lines string) {
	defer func() {
		if recover() != nil {
			lines = clean.Error(err, 1<<10) // which says so
		}
	}()
	return err.Error()
}

func (e *outputError) Unwrap() error { return e.err }
