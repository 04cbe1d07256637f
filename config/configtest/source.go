package configtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
)

// Fixture is a source and what is behind it.
type Fixture struct {
	Source config.Source
	// Put makes the source say values, whose leaves are texts.
	Put func(t testing.TB, values map[string]any)
	// Text makes the source say values as somebody types them, without quotes. Nil: it
	// does not tell them from those of Put.
	Text func(t testing.TB, values map[string]string)
	// Silent: the source tells of no changes by itself.
	Silent bool
	// Filled: the source says something before the first Put.
	Filled bool
	// Break makes the source unreachable, and Heal ends that. Both nil: it
	// cannot happen.
	Break, Heal func(t testing.TB)
}

// RunSource tests a source.
func RunSource(t *testing.T, n func(t testing.TB) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"Read":         testRead,
		"Nothing":      testNothing,
		"Push":         testPush,
		"Burst":        testBurst,
		"StopEnds":     testStopEnds,
		"Watchers":     testWatchers,
		"Large":        testLarge,
		"Nasty":        testNasty,
		"InConfig":     testInConfig,
		"BreakAndHeal": testBreakAndHeal,
	} {
		t.Run(name, func(t *testing.T) { test(t, n(t)) })
	}
}

// said returns the values of a change set as JSON.
func said(t *testing.T, cs *config.ChangeSet, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	merged, err := config.NewReader().Parse(cs)
	if err != nil {
		t.Fatal(err)
	}
	return string(merged.Data)
}

func encode(values map[string]any) string {
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // the suite's own values
	}
	return string(b)
}

func testRead(t *testing.T, f Fixture) {
	for _, values := range []map[string]any{
		{"a": "1", "b": map[string]any{"c": "two words", "d": map[string]any{"e": "é"}}},
		{"a": "2"},
	} {
		f.Put(t, values)
		cs, err := f.Source.Read()
		if got, want := said(t, cs, err), encode(values); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		sum := sha256.Sum256(cs.Data)
		if cs.Checksum != hex.EncodeToString(sum[:]) || cs.Source != f.Source.String() || cs.Timestamp.IsZero() {
			t.Errorf("checksum %q, source %q, timestamp %v", cs.Checksum, cs.Source, cs.Timestamp)
		}
	}
	if f.Source.String() == "" {
		t.Error("the source has no name")
	}
}

func testNothing(t *testing.T, f Fixture) {
	cs, err := f.Source.Read()
	if !f.Filled && !errors.Is(err, config.ErrNotFound) {
		t.Errorf("nothing there: %v, %v, want ErrNotFound", cs, err)
	}
	if f.Filled && err != nil {
		t.Error(err)
	}
}

type news struct {
	cs  *config.ChangeSet
	err error
}

// listen reads a watcher until it ends.
func listen(t *testing.T, s config.Source) (<-chan news, config.SourceWatcher) {
	t.Helper()
	w, err := s.Watch()
	if err != nil {
		t.Fatal(err)
	}
	heard, done := make(chan news, 10_000), make(chan struct{})
	go func() {
		defer close(done)
		for {
			cs, err := w.Next()
			heard <- news{cs, err}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = w.Stop() // a second one, mostly
		<-done
	})
	return heard, w
}

// until waits for a watcher to tell something.
func until(t *testing.T, heard <-chan news, want map[string]any) (others []string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case n := <-heard:
			if n.err == nil && len(n.cs.Data) == 0 {
				continue // it is being written anew: a config looks twice
			}
			got := said(t, n.cs, n.err)
			if got == encode(want) {
				return others
			}
			others = append(others, got)
		case <-deadline:
			t.Fatalf("never heard %s, but %q", encode(want), others)
		}
	}
}

func testPush(t *testing.T, f Fixture) {
	if f.Silent {
		f.Put(t, map[string]any{"a": "1"})
		heard, w := listen(t, f.Source)
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		if n := <-heard; !errors.Is(n.err, config.ErrStopped) {
			t.Errorf("a silent source said %v", n)
		}
		return
	}
	f.Put(t, map[string]any{"a": "0"})
	if _, err := f.Source.Read(); err != nil { // as a config does
		t.Fatal(err)
	}
	heard, _ := listen(t, f.Source)
	for i := range 3 {
		values := map[string]any{"a": fmt.Sprint(i + 1), "b": map[string]any{"c": "x"}}
		begun := time.Now()
		f.Put(t, values)
		until(t, heard, values)
		t.Logf("heard after %v", time.Since(begun))
	}
}

func testBurst(t *testing.T, f Fixture) {
	f.Put(t, map[string]any{"a": "0"})
	if f.Silent {
		return
	}
	if _, err := f.Source.Read(); err != nil {
		t.Fatal(err)
	}
	heard, _ := listen(t, f.Source)
	const puts = 50
	for i := range puts {
		f.Put(t, map[string]any{"a": fmt.Sprintf("%03d", i+1)})
	}
	last := ""
	for _, got := range until(t, heard, map[string]any{"a": fmt.Sprintf("%03d", puts)}) {
		if got < last {
			t.Errorf("%s came after %s", got, last)
		}
		last = got
	}
}

func testStopEnds(t *testing.T, f Fixture) {
	f.Put(t, map[string]any{"a": "0"})
	heard, w := listen(t, f.Source)
	for range 2 {
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(time.Minute)
	for {
		select {
		case n := <-heard:
			if n.err == nil {
				continue // it told the present before
			}
			if !errors.Is(n.err, config.ErrStopped) {
				t.Errorf("Next after Stop: %v", n.err)
			}
			return
		case <-deadline:
			t.Fatal("Next goes on after Stop")
		}
	}
}

func testWatchers(t *testing.T, f Fixture) {
	f.Put(t, map[string]any{"a": "0"})
	if f.Silent {
		return
	}
	first, w := listen(t, f.Source)
	second, _ := listen(t, f.Source)
	f.Put(t, map[string]any{"a": "1"})
	until(t, first, map[string]any{"a": "1"})
	until(t, second, map[string]any{"a": "1"})
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	f.Put(t, map[string]any{"a": "2"})
	until(t, second, map[string]any{"a": "2"})
}

func testLarge(t *testing.T, f Fixture) {
	values := map[string]any{}
	for i := range 100 {
		values[fmt.Sprintf("key%d", i)] = strings.Repeat("x", 1000)
	}
	f.Put(t, values)
	cs, err := f.Source.Read()
	if got := said(t, cs, err); got != encode(values) {
		t.Errorf("%d bytes came back of %d", len(got), len(encode(values)))
	}
}

func configOf(t *testing.T, s config.Source) config.Config {
	t.Helper()
	return started(t, func(_ testing.TB, opts ...config.Option) config.Config { return config.NewConfig(opts...) },
		config.PollInterval(pollOf(t)), config.WithOptionalSource(s))
}

// pollOf is the poll of configs in these tests: far too rare for a change to
// arrive by it.
func pollOf(*testing.T) time.Duration { return time.Hour }

func testInConfig(t *testing.T, f Fixture) {
	c := configOf(t, f.Source)
	if !f.Filled && c.Status()[0].Err == nil {
		t.Error("a source without values is well")
	}
	f.Put(t, map[string]any{"a": map[string]any{"b": "1"}})
	if f.Silent {
		c = configOf(t, f.Source)
	}
	eventually(t, "values appear", func() bool { return c.Get("a", "b").Int(0) == 1 })
	if f.Silent {
		return
	}
	f.Put(t, map[string]any{"a": map[string]any{"b": "2"}})
	eventually(t, "values change", func() bool { return c.Get("a", "b").Int(0) == 2 && c.Status()[0].Err == nil })
}

func testBreakAndHeal(t *testing.T, f Fixture) {
	if f.Break == nil {
		return
	}
	before := map[string]any{"a": "1", "b": "1"}
	f.Put(t, maps.Clone(before))
	c := configOf(t, f.Source)
	eventually(t, "values appear", func() bool { return c.Get("a").Int(0) == 1 })
	f.Break(t)
	eventually(t, "the source is told to be ill", func() bool {
		s := c.Status()[0]
		return s.Err != nil || s.WatchErr != nil
	})
	if got := string(c.Bytes()); got != encode(before) {
		t.Errorf("the last good values are gone: %s", got)
	}
	f.Heal(t)
	f.Put(t, map[string]any{"a": "2"})
	eventually(t, "it heals", func() bool {
		s := c.Status()[0]
		return c.Get("a").Int(0) == 2 && s.Err == nil && s.WatchErr == nil
	})
	f.Break(t)
	begun := time.Now()
	if err := c.Stop(); err != nil {
		t.Errorf("stop while the source is away: %v", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("stop while the source is away took %v", d)
	}
	f.Heal(t)
}
