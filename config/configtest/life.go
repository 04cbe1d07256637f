package configtest

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
)

func lives(n New) lifecycletest.Case[config.Config, config.Option] {
	return lifecycletest.Case[config.Config, config.Option]{
		New: func(tb testing.TB, opts ...config.Option) config.Config {
			return n(tb, append([]config.Option{quiet(), config.WithSource(source("a", `{"a":1}`))}, opts...)...)
		},
		Call: func(c config.Config) error {
			w, err := c.Watch()
			if err == nil && c.Get("a").Int(0) != 1 {
				err = errors.New("the value is not there")
			}
			if err != nil {
				return err
			}
			return w.Stop()
		},
		Bad: config.PollInterval(0), Text: "config: option PollInterval: 0s is not within 10ms to 24h0m0s",
		NilLogger: config.Logger(nil),
	}
}

// testBeforeStart makes each method the first call.
func testBeforeStart(t *testing.T, n New) {
	for name, first := range map[string]func(config.Config) bool{
		"Get":      func(c config.Config) bool { return c.Get("a").Int(0) == 1 },
		"Set":      func(c config.Config) bool { c.Set(2, "b"); return string(c.Bytes()) == `{"a":1,"b":2}` },
		"Del":      func(c config.Config) bool { c.Del("b"); return c.Status()[0].Loaded },
		"Bytes":    func(c config.Config) bool { return string(c.Bytes()) == `{"a":1}` },
		"Snapshot": func(c config.Config) bool { return c.Snapshot().Get("a").Int(0) == 1 },
		"Explain":  func(c config.Config) bool { return c.Explain("a").Source == "memory:a" },
		"Status":   func(c config.Config) bool { return c.Status()[0].Loaded },
	} {
		if c := made(t, n, config.WithSource(source("a", `{"a":1}`))); !first(c) {
			t.Errorf("%s did not start the config", name)
		}
	}
	var lines atomic.Int32
	logs := config.Logger(slog.New(slog.NewTextHandler(writer(func() { lines.Add(1) }), nil)))
	broken := made(t, n, logs, config.WithSource(source("a", `no`)), config.StartTimeout(time.Minute))
	for range 3 {
		if got := broken.Get("a").Int(7); got != 7 {
			t.Errorf("a value of a source that cannot be read: %d", got)
		}
	}
	if lines.Load() == 0 {
		t.Error("why the first call did not start the config well was not logged")
	}
	if err := broken.Start(); !errors.Is(err, config.ErrRequired) {
		t.Errorf("Start after the first call: %v", err)
	}
}

// writer calls for each line of a log.
type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

func testAfterStop(t *testing.T, n New) {
	c := with(t, n, source("a", `{"a":1}`))
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := c.Get("a").Int(0); got != 1 {
		t.Errorf("values after Stop: %d", got)
	}
	c.Set(2, "a")
	if got := c.Get("a").Int(0); got != 2 {
		t.Errorf("Set after Stop: %d", got)
	}
	if c.Options().PollInterval != config.DefaultPollInterval || c.Options().Context == nil {
		t.Errorf("%+v", c.Options())
	}
}
