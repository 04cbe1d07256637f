package eventlog_test

import (
	"context"
	"strings"
	"testing"

	"github.com/micro/go-platform/event/internal/eventlog"
)

func TestDamagedStatesAreRefused(t *testing.T) {
	good := []byte{1, 3, 10, 1, 's', 9, 1, 4, 2}
	for what, c := range map[string]struct {
		name string
		data []byte
	}{
		"empty":           {"s", []byte{}},
		"another version": {"s", append([]byte{2}, good[1:]...)},
		"a length beyond": {"s", []byte{1, 0xff, 0x7f, 10, 1, 's'}},
		"cut off":         {"s", good[:len(good)-1]},
		"another's":       {"t", good},
	} {
		m := eventlog.NewMemory()
		if err := m.Commit(t.Context(), nil, []eventlog.State{{Name: c.name, Data: c.data}}); err != nil {
			t.Fatal(err)
		}
		if _, err := eventlog.Open(t.Context(), m, eventlog.Config{}); err == nil || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	m := eventlog.NewMemory()
	if err := m.Commit(t.Context(), nil, []eventlog.State{{Name: "s", Data: good}}); err != nil {
		t.Fatal(err)
	}
	l, err := eventlog.Open(t.Context(), m, eventlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s := l.Subscriptions("s")[0]; s.Unsettled != 1 || s.Floor != 3 {
		t.Errorf("the good one: %v", s)
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

// FuzzState reads the states of subscriptions that a broken disk may hold:
// they are refused, or what is made of them can be saved and read again.
func FuzzState(f *testing.F) {
	saved := func(t testing.TB, m *eventlog.Memory) []byte {
		states, err := m.States(context.Background())
		if err != nil || len(states) != 1 {
			t.Fatal(states, err)
		}
		return states[0].Data
	}
	seed := eventlog.NewMemory()
	l, err := eventlog.Open(context.Background(), seed, eventlog.Config{})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := l.Join(context.Background(), membership("s", "m", ordered, maxTries(5))); err != nil {
		f.Fatal(err)
	}
	if err := l.Stop(); err != nil {
		f.Fatal(err)
	}
	good := saved(f, seed)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{1, 3, 10, 1, 's', 9, 2, 1, 0, 4, 2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := eventlog.NewMemory()
		reopen := func(data []byte) (*eventlog.Log, error) {
			if err := m.Commit(t.Context(), nil, []eventlog.State{{Name: "s", Data: append([]byte{}, data...)}}); err != nil {
				t.Fatal(err)
			}
			return eventlog.Open(context.Background(), m, eventlog.Config{})
		}
		l, err := reopen(data)
		if err != nil {
			if !strings.Contains(err.Error(), `"s"`) {
				t.Fatalf("the error does not name the subscription: %v", err)
			}
			return
		}
		before := status(l, "s")
		member, err := l.Join(t.Context(), membership("s", "m"))
		if err != nil {
			t.Fatal(err)
		}
		member.Detach()
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if l, err = reopen(saved(t, m)); err != nil {
			t.Fatalf("saved again after %s: %v", before, err)
		}
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}
