package log_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/discard"
	"github.com/micro/go-platform/log/logtest"
	"github.com/micro/go-platform/log/recorder"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestLog(t *testing.T) {
	logtest.Run(t, func(_ testing.TB, opts ...log.Option) log.Log { return log.NewLog(opts...) })
}

func TestRecorder(t *testing.T) {
	logtest.RunOutput(t, func(testing.TB) logtest.Fixture {
		rec := recorder.NewOutput()
		return logtest.Fixture{Output: rec, Read: rec.Events}
	})
}

func TestParseLevel(t *testing.T) {
	for in, want := range map[string]log.Level{"debug": 0, "INFO": 1, " Warn ": 2, "error": 3, "fatal": 4, "0": 0, "4": 4} {
		if got, err := log.ParseLevel(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "-1", "warning", "1.0", strings.Repeat("x", 1<<20)} {
		if _, err := log.ParseLevel(in); err == nil || len(err.Error()) > 200 {
			t.Errorf("%.10q: got %.100v", in, err)
		}
	}
}

func TestLevelJSON(t *testing.T) {
	for in, want := range map[string]log.Level{`"warn"`: 2, `"WARN"`: 2, `2`: 2, `"2"`: 2, `0`: 0} {
		var e log.Event
		if err := json.Unmarshal([]byte(`{"level":`+in+`}`), &e); err != nil || e.Level != want {
			t.Errorf("%s: got %v, %v", in, e.Level, err)
		}
	}
	for _, in := range []string{`7`, `-1`, `"loud"`, `1.5`, `null `, `{}`, `[1]`, `true`} {
		var e log.Event
		if err := json.Unmarshal([]byte(`{"level":`+in+`}`), &e); err == nil && in != `null ` {
			t.Errorf("%s: accepted as %v", in, e.Level)
		}
	}
	if _, err := json.Marshal(log.Level(9)); err == nil {
		t.Error("level 9 is written")
	}
}

func TestBadOptionsAreToldByStart(t *testing.T) {
	l := log.NewLog(log.WithOutput(discard.NewOutput()), log.WithLevel(-1), log.WithExit(nil))
	for range 2 {
		err := l.Start()
		if !errors.Is(err, log.ErrInvalid) || !strings.Contains(err.Error(), "WithLevel") || !strings.Contains(err.Error(), "WithExit") {
			t.Errorf("Start: %v", err)
		}
	}
	l.Info("still works")
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

func TestContext(t *testing.T) {
	if _, ok := log.FromContext(context.Background()); ok {
		t.Error("a Log out of nowhere")
	}
	l := log.NewLog(log.WithOutput(discard.NewOutput()))
	if got, ok := log.FromContext(log.NewContext(context.Background(), l)); !ok || got != l {
		t.Error("the Log is not in its context")
	}
}

// failing is an output that fails when told to.
type failing struct {
	recorder.Output
	fail bool
}

func (f *failing) Send(e *log.Event) error {
	if f.fail {
		return errors.New("broken")
	}
	return f.Output.Send(e)
}

func TestFailingOutputIsCountedAndOthersGoOn(t *testing.T) {
	bad, good := &failing{fail: true}, recorder.NewOutput()
	var told bytes.Buffer
	l := log.NewLog(log.WithOutput(bad), log.WithOutput(good), log.WithLogger(slog.New(slog.NewTextHandler(&told, nil))))
	for range 3 {
		l.Info("m")
	}
	bad.fail = false
	l.Info("m")
	if l.Dropped() != 3 || len(good.Events()) != 4 || len(bad.Events()) != 1 {
		t.Errorf("dropped %d, good %d, bad %d", l.Dropped(), len(good.Events()), len(bad.Events()))
	}
	if n := strings.Count(told.String(), "\n"); n != 2 || !strings.Contains(told.String(), "dropped=3") {
		t.Errorf("want one line at the begin and one at the end, got:\n%s", told.String())
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

// stuck is an output whose Flush and Close hang.
type stuck struct {
	recorder.Output
	release chan struct{}
}

func (s *stuck) Flush() error { <-s.release; return nil }

func TestStopIsBoundedByAHangingOutput(t *testing.T) {
	s, good := &stuck{release: make(chan struct{})}, recorder.NewOutput()
	defer close(s.release)
	l := log.NewLog(log.WithOutput(s), log.WithOutput(good))
	l.Info("m")
	begun := time.Now()
	if err := l.Stop(); err == nil {
		t.Error("Stop does not tell")
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("Stop took %v", d)
	}
	if good.Send(&log.Event{}) == nil {
		t.Error("the other output was not closed")
	}
}

func TestFatalExitsWithOneAndHasFlushed(t *testing.T) {
	if path := os.Getenv("LOG_TEST_FATAL"); path != "" {
		l := log.NewLog(log.WithOutput(log.NewOutput(log.OutputName(path))))
		l.Info("before")
		l.Fatal("the end")
		return // exit status 0 if Fatal came back
	}
	path := filepath.Join(t.TempDir(), "log.json")
	cmd := exec.Command(os.Args[0], "-test.run=^TestFatalExitsWithOneAndHasFlushed$")
	cmd.Env = append(os.Environ(), "LOG_TEST_FATAL="+path)
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit status 1", err)
	}
	data, err := os.ReadFile(path)
	if err != nil || strings.Count(string(data), "\n") != 2 || !strings.Contains(string(data), "the end") {
		t.Errorf("%v: %s", err, data)
	}
}

func TestDefaultIsAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	l := log.NewLog()
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	l.Debug("no")
	l.Info("yes")
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(log.DefaultOutputName)
	if err != nil || strings.Count(string(data), "\n") != 1 {
		t.Errorf("%v: %s", err, data)
	}
}

func TestTimestampsAreThoseOfTheWall(t *testing.T) {
	rec := recorder.NewOutput()
	l := log.NewLog(log.WithOutput(rec))
	begun := time.Now()
	logtest.Eventually(t, "a second look at the wall", func() bool {
		l.Info("m")
		return time.Since(begun) > 1200*time.Millisecond
	})
	before := begun
	for i, e := range rec.Events() {
		at := time.Unix(0, e.Timestamp)
		// Slack for a clock that is being set right while the test runs.
		if at.Before(before.Add(-100*time.Millisecond)) || at.After(time.Now().Add(100*time.Millisecond)) {
			t.Fatalf("event %d at %v, after one at %v", i, at, before)
		}
		before = at
	}
}

func TestFirstOutputReplacesTheDefault(t *testing.T) {
	t.Chdir(t.TempDir())
	l, rec := log.NewLog(), recorder.NewOutput()
	if err := l.Init(log.WithOutput(rec)); err != nil {
		t.Fatal(err)
	}
	l.Info("m")
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(log.DefaultOutputName); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the default file was made: %v", err)
	}
	if len(rec.Events()) != 1 {
		t.Error("the output got nothing")
	}
}
