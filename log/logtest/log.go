package logtest

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/internal/spanctx"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/recorder"
)

// New returns a Log that is not started, with all of the options. The suite stops
// the Log.
type New func(t testing.TB, opts ...log.Option) log.Log

// Run checks that a plugin keeps the contract of log.Log.
func Run(t *testing.T, open func(t testing.TB, opts ...log.Option) log.Log) {
	t.Run("Lifecycle", func(t *testing.T) { lifecycletest.Run(t, lives(open)) })
	tests := map[string]func(*testing.T, log.Log, *recorder.Output){
		"levels":             levels,
		"unknown levels":     unknownLevels,
		"level at run time":  runTimeLevel,
		"messages":           messages,
		"fields":             fields,
		"fields at the call": callFields,
		"bounds":             bounds,
		"redaction":          redacts,
		"span of a context":  span,
		"Init adds outputs":  initAdds,
		"Init refuses":       initRefuses,
		"life":               life,
		"concurrent use":     concurrent,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rec := recorder.NewOutput()
			l := open(t, log.WithOutput(rec), log.WithLevel(log.DebugLevel), log.WithRedact("password"))
			defer func() {
				if err := l.Stop(); err != nil {
					t.Errorf("Stop: %v", err)
				}
			}()
			test(t, l, rec)
		})
	}
	t.Run("fatal", func(t *testing.T) { fatal(t, open) })
	t.Run("outputs that panic", func(t *testing.T) { panics(t, open) })
}

// broken is an output all of whose methods panic, or return an error that does.
type broken struct{ log.Output }

type brokenError struct{}

func (*brokenError) Error() string { panic("no text") }

type brokenErrors struct{ log.Output }

func (brokenErrors) Send(*log.Event) error { return (*brokenError)(nil) }
func (brokenErrors) Flush() error          { return (*brokenError)(nil) }
func (brokenErrors) Close() error          { return (*brokenError)(nil) }
func (brokenErrors) String() string        { return "broken errors" }

// panics demands that an output that panics costs its own events, and no more.
func panics(t *testing.T, open New) {
	for _, out := range []log.Output{broken{}, (*broken)(nil), brokenErrors{}} {
		rec := recorder.NewOutput()
		l := open(t, log.WithOutput(out), log.WithOutput(rec), log.WithLogger(slog.New(slog.DiscardHandler)))
		l.Info("m")
		l.Info("m")
		if n := len(rec.Events()); n != 2 || l.Dropped() != 2 {
			t.Errorf("%T: %d events arrived elsewhere, %d were dropped", out, n, l.Dropped())
		}
		if err := l.Stop(); err == nil || err.Error() == "" {
			t.Errorf("%T: Stop: %v", out, err)
		}
	}
}

// lives makes each Log with a recorder, which is its first output.
func lives(open New) lifecycletest.Case[log.Log, log.Option] {
	return lifecycletest.Case[log.Log, log.Option]{
		New: func(tb testing.TB, opts ...log.Option) log.Log {
			return open(tb, append([]log.Option{log.WithOutput(recorder.NewOutput())}, opts...)...)
		},
		Call: func(l log.Log) error {
			rec := l.Options().Outputs[0].(*recorder.Output)
			before := len(rec.Events())
			l.Info("called")
			if len(rec.Events()) != before+1 {
				return errors.New("the event did not arrive")
			}
			return nil
		},
		Dropped: log.Log.Dropped,
		Bad:     log.WithLevel(9), Text: "log: option WithLevel: 9 is not within 0 to 4",
		NilLogger: log.WithLogger(nil),
	}
}

func written(rec *recorder.Output) []string {
	var lines []string
	for _, e := range rec.Events() {
		lines = append(lines, e.Level.String()+" "+e.Message)
	}
	return lines
}

func expect(t *testing.T, rec *recorder.Output, lines ...string) {
	t.Helper()
	if got := written(rec); !slices.Equal(got, lines) {
		t.Errorf("got %q, want %q", got, lines)
	}
	rec.Reset()
}

func last(t *testing.T, rec *recorder.Output) *log.Event {
	t.Helper()
	events := rec.Events()
	if len(events) == 0 {
		t.Fatal("nothing was logged")
	}
	return events[len(events)-1]
}

func levels(t *testing.T, l log.Log, rec *recorder.Output) {
	l.Debug("a")
	l.Info("b")
	l.Warn("c")
	l.Error("d")
	l.Debugf("%s", "e")
	l.Infof("%s", "f")
	l.Warnf("%s", "g")
	l.Errorf("%s", "h")
	l.Log(log.WarnLevel, "i")
	l.Logf(log.InfoLevel, "%d", 1)
	l.LogFields(log.ErrorLevel, "j")
	expect(t, rec, "debug a", "info b", "warn c", "error d", "debug e", "info f", "warn g", "error h", "warn i", "info 1", "error j")
	if err := l.SetLevel(log.WarnLevel); err != nil {
		t.Fatal(err)
	}
	l.Debug("a")
	l.Info("b")
	l.Infof("b")
	l.Logf(log.InfoLevel, "b")
	l.LogFields(log.InfoLevel, "b")
	l.Warn("c")
	expect(t, rec, "warn c")
	if l.Enabled(log.InfoLevel) || !l.Enabled(log.WarnLevel) {
		t.Error("Enabled does not tell the level")
	}
}

func unknownLevels(t *testing.T, l log.Log, rec *recorder.Output) {
	l.Log(-3, "low")
	l.Logf(77, "high")
	expect(t, rec, "debug low", "error high")
	if err := l.SetLevel(9); err == nil {
		t.Error("SetLevel takes 9")
	}
	if l.Level() != log.DebugLevel {
		t.Error("a refused level changed it")
	}
}

func runTimeLevel(t *testing.T, l log.Log, rec *recorder.Output) {
	held := l.WithFields(log.Fields{"a": "1"})
	if err := l.Init(log.WithLevel(log.ErrorLevel)); err != nil {
		t.Fatal(err)
	}
	held.Info("no")
	if err := l.SetLevel(log.InfoLevel); err != nil {
		t.Fatal(err)
	}
	held.Info("yes")
	expect(t, rec, "info yes")
	if l.Options().Level != log.InfoLevel {
		t.Errorf("Options tell level %v", l.Options().Level)
	}
}

func messages(t *testing.T, l log.Log, rec *recorder.Output) {
	l.Info()
	l.Info("a", 1, 2, "b")
	l.Info(errors.New("x"))
	l.Infof("100%")
	l.Infof("%v%%", 7)
	expect(t, rec, "info ", "info a1 2b", "info x", "info 100%", "info 7%")
	for _, text := range Nasty {
		l.Info(text)
		if got := last(t, rec).Message; got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

func fields(t *testing.T, l log.Log, rec *recorder.Output) {
	if err := l.Init(log.WithFields(log.Fields{"service": "s"})); err != nil {
		t.Fatal(err)
	}
	given := log.Fields{"a": "1"}
	child := l.WithFields(given)
	given["a"], given["late"] = "changed", "x"
	grandchild := child.WithFields(log.Fields{"a": "2", "b": "3"})
	for _, test := range []struct {
		by   log.Logger
		want log.Fields
	}{
		{l, log.Fields{"service": "s"}},
		{child, log.Fields{"service": "s", "a": "1"}},
		{grandchild, log.Fields{"service": "s", "a": "2", "b": "3"}},
		{child.WithFields(nil), log.Fields{"service": "s", "a": "1"}},
	} {
		test.by.Info("m")
		same(t, last(t, rec), test.want)
	}
}

// same compares fields, also as the event writes them.
func same(t *testing.T, e *log.Event, want log.Fields) {
	t.Helper()
	if !maps.Equal(e.Fields, want) {
		t.Errorf("got fields %q, want %q", e.Fields, want)
	}
}

func callFields(t *testing.T, l log.Log, rec *recorder.Output) {
	child := l.WithFields(log.Fields{"a": "1"})
	child.LogFields(log.InfoLevel, "m", log.Field{Key: "b", Value: "2"}, log.Field{Key: "c", Value: "3"})
	same(t, last(t, rec), log.Fields{"a": "1", "b": "2", "c": "3"})
	child.LogFields(log.InfoLevel, "m", log.Field{Key: "a", Value: "x"}, log.Field{Key: "b", Value: "y"}, log.Field{Key: "b", Value: "z"})
	same(t, last(t, rec), log.Fields{"a": "x", "b": "z"})
	child.Info("m")
	same(t, last(t, rec), log.Fields{"a": "1"})
}

func bounds(t *testing.T, l log.Log, rec *recorder.Output) {
	long := strings.Repeat("ä", 1<<20)
	many := log.Fields{}
	list := []log.Field{}
	for i := range 100 {
		name := "f" + string(rune('A'+i))
		many[name] = "v"
		list = append(list, log.Field{Key: name, Value: "v"})
	}
	l.WithFields(log.Fields{"v": long, long: "k"}).WithFields(many).Info(long)
	bounded(t, last(t, rec), "38")
	l.LogFields(log.InfoLevel, long, append([]log.Field{{Key: long, Value: long}}, list...)...)
	bounded(t, last(t, rec), "37")
}

func bounded(t *testing.T, e *log.Event, left string) {
	t.Helper()
	if len(e.Message) > log.MaxMessage || !strings.HasSuffix(e.Message, "ä…") {
		t.Errorf("message of %d bytes, ending in %q", len(e.Message), e.Message[len(e.Message)-8:])
	}
	if len(e.Fields) != log.MaxFields+1 || e.Fields["fields_dropped"] != left {
		t.Errorf("%d fields, %q said to be left out, want %s", len(e.Fields), e.Fields["fields_dropped"], left)
	}
	for k, v := range e.Fields {
		if len(k) > log.MaxKey || len(v) > log.MaxValue {
			t.Errorf("field of %d, %d bytes", len(k), len(v))
		}
	}
}

func redacts(t *testing.T, l log.Log, rec *recorder.Output) {
	l.WithFields(log.Fields{"PassWord": "secret", "user.password": "secret", "passwords": "3"}).Info("m")
	same(t, last(t, rec), log.Fields{"PassWord": "[redacted]", "user.password": "[redacted]", "passwords": "3"})
	l.LogFields(log.InfoLevel, "m", log.Field{Key: "password", Value: "secret"})
	same(t, last(t, rec), log.Fields{"password": "[redacted]"})
	l.WithFields(log.Fields{"a.Password.b.c": "secret", "password.": "secret", "a.passwords.b": "3", "passwordx": "4"}).Info("m")
	same(t, last(t, rec), log.Fields{"a.Password.b.c": "[redacted]", "password.": "[redacted]", "a.passwords.b": "3", "passwordx": "4"})
	h := slog.New(log.NewSlogHandler(l))
	for _, say := range []func(){
		func() { h.Info("m", slog.Group("password", "new", "secret", slog.Group("old", "hash", "secret"))) },
		func() { h.WithGroup("password").Info("m", "new", "secret", slog.Group("old", "hash", "secret")) },
		func() { h.WithGroup("password").With("new", "secret").Info("m", slog.Group("old", "hash", "secret")) },
	} {
		say()
		same(t, last(t, rec), log.Fields{"password.new": "[redacted]", "password.old.hash": "[redacted]"})
	}
	h.WithGroup("user").With(slog.Group("Password", "new", "secret")).Info("m", "id", "7")
	same(t, last(t, rec), log.Fields{"user.Password.new": "[redacted]", "user.id": "7"})
}

type testSpan struct{}

func (testSpan) SpanIDs() (string, string) { return "trace", "span" }

func span(t *testing.T, l log.Log, rec *recorder.Output) {
	l.WithContext(context.Background()).Info("m")
	same(t, last(t, rec), log.Fields{})
	l.WithContext(spanctx.With(context.Background(), testSpan{})).Info("m")
	same(t, last(t, rec), log.Fields{log.TraceField: "trace", log.SpanField: "span"})
}

func initAdds(t *testing.T, l log.Log, rec *recorder.Output) {
	other := recorder.NewOutput()
	if err := l.Init(log.WithOutput(other)); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Options().Outputs); n != 2 {
		t.Errorf("%d outputs, want 2", n)
	}
	l.Info("both")
	expect(t, rec, "info both")
	expect(t, other, "info both")
}

func initRefuses(t *testing.T, l log.Log, rec *recorder.Output) {
	for option, opts := range map[string][]log.Option{
		"WithLevel":  {log.WithLevel(9)},
		"WithOutput": {log.WithLevel(log.ErrorLevel), log.WithOutput(nil)},
		"WithExit":   {log.WithFields(log.Fields{"a": "1"}), log.WithExit(nil)},
		"WithRedact": {log.WithRedact("a", " ")},
	} {
		if err := l.Init(opts...); err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s: got %v", option, err)
		}
	}
	l.Info("m")
	same(t, last(t, rec), log.Fields{})
	expect(t, rec, "info m")
}

// life checks what Lifecycle does not: which events arrive, also those of Loggers.
func life(t *testing.T, l log.Log, rec *recorder.Output) {
	held := l.WithFields(log.Fields{"a": "1"})
	l.Info("before Start")
	if err := l.Start(); err != nil {
		t.Errorf("Start: %v", err)
	}
	l.Info("running")
	if err := l.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	l.Info("after Stop")
	held.Info("after Stop")
	expect(t, rec, "info before Start", "info running")
	if l.Dropped() != 2 {
		t.Errorf("Dropped %d, want 2", l.Dropped())
	}
}

func concurrent(t *testing.T, l log.Log, rec *recorder.Output) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				l.WithFields(log.Fields{"a": "1"}).Info("m")
				l.LogFields(log.InfoLevel, "m", log.Field{Key: "a", Value: "1"})
			}
		})
		wg.Go(func() {
			for range 20 {
				if err := l.Init(log.WithFields(log.Fields{"b": "2"})); err != nil {
					t.Error(err)
				}
				_ = l.Options()
			}
		})
	}
	wg.Wait()
	if n := len(rec.Events()); n != 800 {
		t.Errorf("%d events, want 800", n)
	}
	for _, e := range rec.Events() {
		if e.Fields["a"] != "1" || e.Message != "m" {
			t.Fatalf("got %+v", e)
		}
	}
}

func fatal(t *testing.T, open New) {
	for name, do := range map[string]func(log.Log){
		"Fatal":     func(l log.Log) { l.Fatal("end") },
		"Fatalf":    func(l log.Log) { l.Fatalf("%s", "end") },
		"Log":       func(l log.Log) { l.Log(log.FatalLevel, "end") },
		"Logf":      func(l log.Log) { l.Logf(log.FatalLevel, "end") },
		"LogFields": func(l log.Log) { l.LogFields(log.FatalLevel, "end") },
	} {
		t.Run(name, func(t *testing.T) {
			rec, codes := recorder.NewOutput(), []int{}
			l := open(t, log.WithOutput(rec), log.WithExit(func(code int) { codes = append(codes, code) }))
			do(l)
			expect(t, rec, "fatal end")
			if !slices.Equal(codes, []int{1}) {
				t.Errorf("exit codes %v, want 1 once", codes)
			}
			if err := l.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
