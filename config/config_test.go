package config_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

func TestBadOptionsAreNamed(t *testing.T) {
	s := memory.NewSource()
	many := make([]config.Option, 33)
	for i := range many {
		many[i] = config.WithSource(s)
	}
	for want, opts := range map[string][]config.Option{
		"config: option StartTimeout: -1ns is not positive":      {config.WithSource(s), config.StartTimeout(-1)},
		"config: option WithSource: source 0 is nil":             {config.WithSource(nil)},
		"config: option WithSource: 33 sources are more than 32": many,
	} {
		c := config.NewConfig(append(opts, quiet())...)
		if got := c.Get("a").Int(7); got != 7 {
			t.Errorf("a call of what cannot start: %d", got)
		}
		if err := c.Start(); !errors.Is(err, config.ErrInvalid) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// slow is a source that never answers.
type slow struct{ ended chan struct{} }

func (s slow) Read() (*config.ChangeSet, error) { <-s.ended; return nil, errors.New("ended") }
func (s slow) Watch() (config.SourceWatcher, error) {
	<-s.ended
	return nil, errors.New("ended")
}
func (s slow) String() string { return "slow" }

func TestASourceThatHangsDelaysNobody(t *testing.T) { synctest.Test(t, delayNobody) }

func delayNobody(t *testing.T) {
	t.Helper()
	s := slow{make(chan struct{})}
	end := sync.OnceFunc(func() { close(s.ended) })
	c := config.NewConfig(quiet(), config.StartTimeout(50*time.Millisecond), config.WithOptionalSource(s),
		config.WithSource(memory.NewSource(memory.Data([]byte(`{"a":1}`)))))
	defer func() { end(); _ = c.Stop() }() // nothing may be left in the bubble; the test looks at the first Stop
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "others work", func() bool { return c.Get("a").Int(0) == 1 })
	begun := time.Now()
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("Stop: %v", err)
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("Stop took %v", d)
	}
	end()
	required := config.NewConfig(quiet(), config.StartTimeout(50*time.Millisecond), config.WithSource(slow{s.ended}))
	if err := required.Start(); !errors.Is(err, config.ErrRequired) || !strings.Contains(err.Error(), "slow") {
		t.Errorf("Start: %v", err)
	}
	if err := required.Stop(); err != nil {
		t.Error(err)
	}
}

// TestFaultPollIsABackstop has a source whose watcher says nothing.
func TestFaultPollIsABackstop(t *testing.T) {
	s := &mute{Source: memory.NewSource(memory.Data([]byte(`{"a":1}`)))}
	c := run(t, config.WithSource(s), config.PollInterval(20*time.Millisecond))
	s.Update([]byte(`{"a":2}`))
	rpctest.Eventually(t, "the poll sees it", func() bool { return c.Get("a").Int(0) == 2 })
	if s.reads.Load() < 2 {
		t.Error("it was not polled")
	}
}

type mute struct {
	*memory.Source
	reads atomic.Int64
}

func (m *mute) Read() (*config.ChangeSet, error) { m.reads.Add(1); return m.Source.Read() }
func (m *mute) Watch() (config.SourceWatcher, error) {
	return &muteWatcher{make(chan struct{}), &sync.Once{}}, nil
}

type muteWatcher struct {
	stopped chan struct{}
	once    *sync.Once
}

func (w *muteWatcher) Next() (*config.ChangeSet, error) { <-w.stopped; return nil, config.ErrStopped }
func (w *muteWatcher) Stop() error                      { w.once.Do(func() { close(w.stopped) }); return nil }

// TestAStaleReadDoesNotUndoAPush: a poll that was under way while a newer value
// was pushed changes nothing.
func TestAStaleReadDoesNotUndoAPush(t *testing.T) {
	s := &stale{Source: memory.NewSource(memory.Data([]byte(`{"a":1}`))), reading: make(chan struct{}), answer: make(chan struct{})}
	c := config.NewConfig(quiet(), config.PollInterval(20*time.Millisecond), config.WithSource(s))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the first reads are over", func() bool { return s.watched.Load() && s.reads.Load() >= 2 })
	s.hold.Store(true)
	<-s.reading // it has read 1 and is slow to say so
	s.Update([]byte(`{"a":2}`))
	rpctest.Eventually(t, "the push arrives", func() bool { return c.Get("a").Int(0) == 2 })
	w, err := c.Watch("a")
	if err != nil {
		t.Fatal(err)
	}
	close(s.answer)
	timer := time.AfterFunc(200*time.Millisecond, func() { _ = w.Stop() }) // the test ends it too
	defer timer.Stop()
	if v, err := w.Next(); err == nil {
		t.Errorf("the value went to %v", v.Int(0))
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

type stale struct {
	*memory.Source
	reads           atomic.Int64
	hold, watched   atomic.Bool
	reading, answer chan struct{}
}

func (s *stale) Watch() (config.SourceWatcher, error) {
	w, err := s.Source.Watch()
	s.watched.Store(true)
	return w, err
}

func (s *stale) Read() (*config.ChangeSet, error) {
	cs, err := s.Source.Read()
	s.reads.Add(1)
	if s.hold.Swap(false) && err == nil {
		close(s.reading)
		<-s.answer
	}
	return cs, err
}

func TestTroubleIsLoggedOncePerChange(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	}), nil))
	lines := func(what string) int {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(out.String(), what)
	}
	s := &mute{Source: memory.NewSource(memory.Data([]byte(`{"a":1}`)))}
	c := config.NewConfig(config.Logger(log), config.WithSource(s), config.PollInterval(config.MinPollInterval))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.Update([]byte(`{"password":"s3cret"`))
	begin := s.reads.Load()
	rpctest.Eventually(t, "it is read often", func() bool { return s.reads.Load() > begin+10 })
	s.Update([]byte(`{"a":2}`))
	rpctest.Eventually(t, "it heals", func() bool { return lines("is well again") == 1 })
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if lines("last good values stay") != 1 || lines("s3cret") != 0 {
		t.Errorf("log:\n%s", out.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestSnapshotFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "snapshot")
	source := func() config.Source { return memory.NewSource(config.SourceName("a"), memory.Data([]byte(`{"a":1}`))) }
	c := config.NewConfig(quiet(), config.SnapshotFile(file), config.WithSource(source()))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil { // writes what is not written yet
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	boot := func(content []byte, name string) config.Config {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s := memory.NewSource(config.SourceName(name))
		s.Fail(errors.New("away"))
		return run(t, config.SnapshotFile(file), config.WithOptionalSource(s))
	}
	if got := boot(good, "a").Get("a").Int(0); got != 1 {
		t.Errorf("a good snapshot: %d", got)
	}
	for name, content := range map[string][]byte{
		"torn": good[:len(good)/2], "empty": {}, "garbage": []byte("garbage"), "flipped": bytes.Replace(good, []byte(`"data":"`), []byte(`"data":"e3`), 1),
		"version": bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
	} {
		if got := boot(content, "a").Get("a").Int(0); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := boot(good, "b").Get("a").Int(0); got != 0 {
		t.Errorf("another source's values: %d", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	// A file that cannot be written costs a log line, nothing else.
	run(t, config.SnapshotFile(filepath.Join(dir, "no", "such")), config.WithSource(source()))
}

func TestFollow(t *testing.T) {
	s := memory.NewSource(memory.Data([]byte(`{"log":{"level":"info"}}`)))
	c := run(t, config.WithSource(s))
	seen := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- config.Follow(ctx, c, func(v config.Value) { seen <- v.String("none") }, "log", "level")
	}()
	if got := <-seen; got != "info" {
		t.Errorf("at first: %s", got)
	}
	s.Update([]byte(`{"log":{"level":"debug"}}`))
	if got := <-seen; got != "debug" {
		t.Errorf("then: %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	go func() { done <- config.Follow(t.Context(), c, func(config.Value) {}) }()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil && !errors.Is(err, config.ErrStopped) {
		t.Error(err)
	}
}

// upper is a reader of a format of its own.
type upper struct{ config.Reader }

func (upper) String() string { return "upper" }
func (u upper) Parse(changes ...*config.ChangeSet) (*config.ChangeSet, error) {
	var lower []*config.ChangeSet
	for _, cs := range changes {
		l := *cs
		l.Data = bytes.ToLower(cs.Data)
		lower = append(lower, &l)
	}
	return u.Reader.Parse(lower...)
}

func TestReaders(t *testing.T) {
	c := run(t, config.WithReader(upper{config.NewReader()}), config.WithSource(memory.NewSource(memory.Data([]byte(`{"A":"B"}`)))))
	if got := string(c.Bytes()); got != `{"a":"b"}` {
		t.Errorf("a reader of the user: %s", got)
	}
	r := config.NewReader()
	merged, err := r.Parse(&config.ChangeSet{Data: []byte(`{"a":{"b":1}}`), Source: "x"}, nil, &config.ChangeSet{Data: []byte("a: {c: 2}"), Format: "yaml", Source: "y", Timestamp: time.Unix(9, 0)})
	if err != nil || string(merged.Data) != `{"a":{"b":1,"c":2}}` || merged.Source != "x,y" || merged.Checksum == "" || merged.Timestamp.Unix() != 9 {
		t.Fatalf("%+v, %v", merged, err)
	}
	v, err := r.Values(merged)
	if err != nil || v.Get("a", "c").Int(0) != 2 {
		t.Errorf("%v, %v", v, err)
	}
	v.Set(3, "a", "c")
	v.Del("a", "b")
	if string(v.Bytes()) != `{"a":{"c":3}}` {
		t.Errorf("%s", v.Bytes())
	}
	if v, err := r.Values(&config.ChangeSet{}); err != nil || string(v.Bytes()) != "{}" {
		t.Errorf("an empty change set: %v, %v", v, err)
	}
	for _, bad := range []*config.ChangeSet{nil, {Format: "ini"}, {Data: []byte("{")}, {Data: []byte("[]")}, {Data: []byte("a"), Format: "ini"}} {
		if _, err := r.Values(bad); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// TestBombs are documents that are small until they are read.
func TestBombs(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for _, step := range []string{"01", "12", "23", "34", "45", "56", "67", "78"} {
		bomb += "a" + step[1:] + ": &a" + step[1:] + " [" + strings.Repeat("*a"+step[:1]+",", 9) + "*a" + step[:1] + "]\n"
	}
	for name, cs := range map[string]*config.ChangeSet{
		"YAML alias bomb":       {Format: "yaml", Data: []byte(bomb)},
		"YAML alias of itself":  {Format: "yaml", Data: []byte("a: &a [*a]\n")},
		"YAML merge of itself":  {Format: "yaml", Data: []byte("a: &a\n  <<: *a\n")},
		"YAML brackets":         {Format: "yaml", Data: []byte("a: " + strings.Repeat("[", 1<<20))},
		"YAML dashes":           {Format: "yaml", Data: []byte("a: " + strings.Repeat("- ", 1<<16) + "x")},
		"YAML indentation":      {Format: "yaml", Data: []byte(indented(500))},
		"deep JSON":             {Data: []byte(strings.Repeat(`{"a":`, 1<<18))},
		"deep JSON, closed":     {Data: []byte(strings.Repeat(`{"a":`, 1<<16) + "1" + strings.Repeat("}", 1<<16))},
		"deep JSON lists":       {Data: []byte(`{"a":` + strings.Repeat("[", 1<<20))},
		"JSON of many values":   {Data: []byte(`{"a":[` + strings.Repeat("0,", 1<<20) + `0]}`)},
		"JSON of a huge number": {Data: []byte(`{"a":1e999999}`)},
		"JSON of a long key":    {Data: []byte(`{"` + strings.Repeat("k", 1000) + `":1}`)},
		"deep TOML":             {Format: "toml", Data: []byte("a = " + strings.Repeat("[", 1<<20))},
		"TOML of dots":          {Format: "toml", Data: []byte(strings.Repeat("a.", 1<<16) + "a = 1")},
		"TOML table of dots":    {Format: "toml", Data: []byte("[" + strings.Repeat("a.", 1<<16) + "a]\nb = 1")},
		"too large":             {Data: []byte(`{"a":"` + strings.Repeat("x", config.MaxSize) + `"}`)},
	} {
		begun := time.Now()
		if v, err := config.NewReader().Parse(cs); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%s: %d bytes, %v", name, len(v.Data), err)
		}
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func indented(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestWrappers(t *testing.T) {
	c := run(t, config.WithSource(memory.NewSource()))
	c.Set("v", "k")
	found := func(ctx context.Context) error {
		if got, ok := config.FromContext(ctx); !ok || got.Get("k").String("") != "v" {
			return errors.New("no config in the context")
		}
		return nil
	}
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		handler := net.Serve(stack, "shop", server.WrapHandler(config.HandlerWrapper(c)), server.WrapSubscriber(config.SubscriberWrapper(c)))
		handler.Forward = found
		cl := net.Client(stack)
		if _, err := echo.NewEchoService("shop", cl).Call(t.Context(), &echo.Request{Text: "x"}); err != nil {
			t.Error(err)
		}
		if err := cl.Publish(t.Context(), cl.NewMessage(rpctest.Topic, &echo.Request{Text: "x"})); err != nil {
			t.Error(err)
		}
	})
	if _, ok := config.FromContext(t.Context()); ok {
		t.Error("a config out of nothing")
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range [][2]string{
		{"json", `{"a":{"b":[1,2.5,"x",true,null]},"big":18446744073709551615}`},
		{"yaml", "a: &x {b: 1}\nc: *x\nd: 2026-01-02\n? [complex]\n: 1\n<<: *x\n"},
		{"toml", "a = 1979-05-27T07:32:00Z\nb = [1, 2]\n[c.d]\ne = inf\n"},
	} {
		f.Add(seed[0], []byte(seed[1]), "a")
	}
	f.Fuzz(func(t *testing.T, format string, data []byte, path string) {
		r := config.NewReader()
		merged, err := r.Parse(&config.ChangeSet{Format: format, Data: data})
		if err != nil {
			if !errors.Is(err, config.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		v, err := r.Values(merged)
		if err != nil {
			if len(merged.Data) > config.MaxSize {
				return // numbers and escapes may be longer than they were
			}
			t.Fatalf("%q became %q: %v", data, merged.Data, err)
		}
		if !bytes.Equal(v.Bytes(), merged.Data) {
			t.Fatalf("%q became %q", merged.Data, v.Bytes())
		}
		x := v.Get(path)
		x.Bool(false)
		x.Int(0)
		x.String("")
		x.Duration(0)
		x.StringMap(nil)
		x.StringSlice(nil)
		var target struct {
			A int
			B map[string]string
			C *time.Duration
			D []float64
		}
		_ = v.Get().Scan(&target) // it must not panic
	})
}
