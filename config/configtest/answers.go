package configtest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
)

// testEmptied: an empty source counts as {} at start, and later after a second look.
func testEmptied(t *testing.T, n New) {
	for _, format := range []string{"json", "yaml", "toml"} {
		s := memory.NewSource(config.SourceFormat(format), memory.Data([]byte(" \n")))
		c := with(t, n, s)
		if got := string(c.Bytes()); got != "{}" {
			t.Errorf("an empty %s at start: %s", format, got)
		}
	}
	s := source("a", `{"a":1}`)
	c := with(t, n, s)
	w, err := c.Watch("a")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.Update(nil) // as a file that is rewritten
	s.Update([]byte(`{"a":2}`))
	if v, err := w.Next(); err != nil || v.Int(0) != 2 {
		t.Errorf("empty for a moment: %v, %v", v, err)
	}
	s.Update(nil)
	if v, err := w.Next(); err != nil || v.Bytes() != nil {
		t.Errorf("empty for good: %v, %v", v, err)
	}
	if d := time.Since(begun); d < time.Second {
		t.Errorf("believed after %v, without a second look", d)
	}
}

// testGone: the values of the snapshot file are used when a source does not answer,
// and not when it answers that it has none.
func testGone(t *testing.T, n New) {
	file := filepath.Join(t.TempDir(), "snapshot")
	boot := func(s config.Source) config.Config {
		return started(t, n, config.SnapshotFile(file), config.WithOptionalSource(s))
	}
	if err := boot(source("a", `{"a":1}`)).Stop(); err != nil {
		t.Fatal(err)
	}
	fails := func(err error) *memory.Source {
		s := source("a", "")
		s.Fail(err)
		return s
	}
	away := boot(fails(errors.New("away")))
	if got := away.Get("a").Int(0); got != 1 || !away.Status()[0].FromSnapshot {
		t.Errorf("a source that cannot be asked: %d", got)
	}
	if err := away.Stop(); err != nil {
		t.Fatal(err)
	}
	gone := boot(fails(config.ErrNotFound))
	if got := gone.Get("a").Int(0); got != 0 || gone.Status()[0].Loaded {
		t.Errorf("a source that has nothing any more: %d", got)
	}
	if err := gone.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := boot(fails(errors.New("away"))).Get("a").Int(0); got != 0 {
		t.Errorf("it came back from the snapshot: %d", got)
	}
	// While a config runs its values stay.
	s := source("b", `{"b":1}`)
	c := started(t, n, config.WithOptionalSource(s), config.PollInterval(config.MinPollInterval))
	s.Fail(config.ErrNotFound)
	eventually(t, "it is told", func() bool { return errors.Is(c.Status()[0].Err, config.ErrNotFound) })
	if got := c.Get("b").Int(0); got != 1 {
		t.Errorf("a value of a running config: %d", got)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// skipping is a source with entries that cannot be used.
type skipping struct{ *memory.Source }

func (s skipping) Read() (*config.ChangeSet, error) {
	cs, err := s.Source.Read()
	if cs != nil {
		cs.Skipped = []string{"key b: it is odd"}
	}
	return cs, err
}

func testSkipped(t *testing.T, n New) {
	c := with(t, n, skipping{source("a", `{"a":1}`)})
	if s := c.Status()[0]; c.Get("a").Int(0) != 1 || len(s.Skipped) != 1 || s.Err != nil {
		t.Errorf("%s, %+v", c.Bytes(), s)
	}
}
