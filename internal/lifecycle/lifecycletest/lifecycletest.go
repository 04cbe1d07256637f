// Package lifecycletest is what every plugin of every feature does when it is
// started, stopped and misused. The suites of the features call it.
package lifecycletest

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Plugin is what all plugins have in common.
type Plugin interface {
	Start() error
	Stop() error
	String() string
}

// Case is a constructor of plugins of a feature.
type Case[P Plugin, O any] struct {
	// New returns a plugin that was not started and works once it is.
	New func(tb testing.TB, opts ...O) P
	// Call returns nil only if the plugin did what it is for.
	Call func(P) error
	// Dropped is for telemetry, whose calls return nothing: how many it dropped,
	// one a call after Stop. Others leave it out and return ErrStopped.
	Dropped func(P) uint64
	// Bad is an option with a bad value, and Text the whole error it causes.
	Bad  O
	Text string
	// NilLogger is Logger(nil). A feature that logs nothing leaves it out.
	NilLogger O
}

// row is what was seen of a plugin, the columns of the table in design.md.
type row struct {
	names []string
	cells map[string]string
}

func (r *row) saw(column, cell string) {
	if _, ok := r.cells[column]; !ok {
		r.names = append(r.names, column)
	}
	r.cells[column] = cell
}

// Run checks the life of what c.New makes. Within go-platform itself the table
// in internal/docs/design.md must have a row with what was seen.
func Run[P Plugin, O any](t *testing.T, c Case[P, O]) {
	t.Helper()
	r := &row{cells: make(map[string]string)}
	name := c.New(t).String()
	for _, test := range []struct {
		name string
		run  func(testing.TB, Case[P, O], *row)
	}{
		{"FirstCall", firstCall[P, O]}, {"StartTwice", startTwice[P, O]}, {"StopTwice", stopTwice[P, O]},
		{"StopFirst", stopFirst[P, O]}, {"StartAfterStop", startAfterStop[P, O]}, {"CallAfterStop", callAfterStop[P, O]},
		{"BadOption", badOption[P, O]}, {"NilOption", nilOption[P, O]}, {"NilLogger", nilLogger[P, O]},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c, r) })
	}
	if !t.Failed() {
		r.compare(t, name)
	}
}

func say(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

func must(tb testing.TB, what string, err error) {
	tb.Helper()
	if err != nil {
		tb.Errorf("%s: %v", what, err)
	}
}

func firstCall[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	p := c.New(tb)
	must(tb, "a call before Start", c.Call(p))
	must(tb, "Start after the first call", p.Start())
	must(tb, "a call after Start", c.Call(p))
	must(tb, "Stop", p.Stop())
	r.saw("first call", "starts it")
}

func startTwice[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	p := c.New(tb)
	must(tb, "Start", p.Start())
	err := p.Start()
	must(tb, "the second Start", err)
	must(tb, "a call after it", c.Call(p))
	must(tb, "Stop", p.Stop())
	r.saw("Start twice", say(err))
}

func stopTwice[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	p := c.New(tb)
	must(tb, "Start", p.Start())
	must(tb, "a call", c.Call(p))
	must(tb, "Stop", p.Stop())
	err := p.Stop()
	must(tb, "the second Stop", err)
	r.saw("Stop twice", say(err))
}

func stopFirst[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	p := c.New(tb)
	err := p.Stop()
	must(tb, "Stop before Start", err)
	refused(tb, p.Start())
	r.saw("Stop before Start", say(err))
}

// refused demands the words for who starts what was stopped.
func refused(tb testing.TB, err error) {
	tb.Helper()
	const words = ": stopped: what was stopped does not start again, make a new one"
	if !errors.Is(err, lifecycle.ErrStopped) || !strings.HasSuffix(err.Error(), words) || strings.Count(err.Error(), ": ") != 2 {
		tb.Errorf("Start after Stop: %v, want the feature's name and %q", err, words)
	}
}

func startAfterStop[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	p := c.New(tb)
	must(tb, "Start", p.Start())
	must(tb, "Stop", p.Stop())
	refused(tb, p.Start())
	refused(tb, p.Start())
	r.saw("Start after Stop", "ErrStopped")
}

func callAfterStop[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	for _, start := range []bool{true, false} {
		p := c.New(tb)
		if start {
			must(tb, "Start", p.Start())
		}
		must(tb, "Stop", p.Stop())
		if c.Dropped == nil {
			stopped(tb, c.Call(p))
			r.saw("call after Stop", "ErrStopped")
			continue
		}
		before := c.Dropped(p)
		_ = c.Call(p) // what telemetry drops it counts, and nobody is told
		if n := c.Dropped(p) - before; n == 0 {
			tb.Error("a call after Stop was not counted as dropped")
		}
		r.saw("call after Stop", "dropped, counted")
	}
}

// stopped demands "kv: stopped", with what was being done in between if need be.
func stopped(tb testing.TB, err error) {
	tb.Helper()
	if !errors.Is(err, lifecycle.ErrStopped) || !strings.HasSuffix(err.Error(), ": stopped") {
		tb.Errorf("a call after Stop: %v, want the feature's name and %q", err, ": stopped")
	}
}

func badOption[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	p := c.New(tb, c.Bad)
	for range 2 {
		if err := p.Start(); !errors.Is(err, rpcerr.ErrInvalid) || err.Error() != c.Text {
			tb.Errorf("Start with a bad option: %v, want %q", err, c.Text)
		}
	}
	must(tb, "Stop after a Start that failed", p.Stop())
	refused(tb, p.Start())
	r.saw("bad option", "fails each Start")
}

func nilOption[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	var none O
	p := c.New(tb, none)
	must(tb, "Start with a nil option", p.Start())
	must(tb, "a call", c.Call(p))
	must(tb, "Stop", p.Stop())
	r.saw("nil option", "skipped")
}

func nilLogger[P Plugin, O any](tb testing.TB, c Case[P, O], r *row) {
	if reflect.ValueOf(c.NilLogger).IsNil() {
		r.saw("Logger(nil)", "logs nothing")
		return
	}
	p := c.New(tb, c.NilLogger)
	must(tb, "Start with Logger(nil)", p.Start())
	must(tb, "a call", c.Call(p))
	must(tb, "Stop", p.Stop())
	r.saw("Logger(nil)", "the default")
}
