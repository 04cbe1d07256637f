package eventtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
)

// types returns the types of what came.
func (in *inbox) types() []string {
	var all []string
	for _, d := range in.deliveries() {
		if !slices.Contains(all, d.Type) {
			all = append(all, d.Type)
		}
	}
	slices.Sort(all)
	return all
}

// mixture is a durable subscription whose members name different types, as while
// one version replaces another.
type mixture struct {
	t   *testing.T
	e   event.Event
	all []*inbox
	n   int
}

func (m *mixture) member(types ...string) *inbox {
	in := consume(m.t, m.e, nil, event.Durable("mixed"), event.Types(types...), event.FromBeginning())
	m.all = append(m.all, in)
	return in
}

// publish publishes some of each type.
func (m *mixture) publish() {
	for range 20 {
		for _, typ := range []string{"old", "new", "other"} {
			publish(m.t, m.e, typ, fmt.Sprint(typ, m.n))
		}
		m.n++
	}
}

// arrived waits until all records of the types that were published after the first
// so many came to members, each once.
func (m *mixture) arrived(first int, types ...string) {
	m.t.Helper()
	var want []string
	for _, typ := range types {
		for i := first; i < m.n; i++ {
			want = append(want, fmt.Sprint(typ, i))
		}
	}
	count := func() map[string]int {
		got := map[string]int{}
		for _, in := range m.all {
			for _, d := range in.data() {
				got[d]++
			}
		}
		return got
	}
	eventually(m.t, func() bool {
		got := count()
		return !slices.ContainsFunc(want, func(d string) bool { return got[d] == 0 })
	}, func() string { return fmt.Sprintf("%v from %d to %d arrive, got %v", types, first, m.n, count()) })
}

func (m *mixture) gotOnly(in *inbox, types ...string) {
	m.t.Helper()
	for _, typ := range in.types() {
		if !slices.Contains(types, typ) {
			m.t.Errorf("a member of %s got %s", strings.Join(types, " "), typ)
		}
	}
}

// RunMixedTypes checks a durable subscription whose members name different types:
// each record goes to a member that named it, and none is skipped.
func RunMixedTypes(t *testing.T, n New) {
	t.Run("Together", func(t *testing.T) {
		m := &mixture{t: t, e: start(t, n.in(t))}
		older, newer := m.member("old"), m.member("old", "new")
		live(t, m.e, newer, "new") // a type begins when a member that names it has joined
		m.publish()
		m.arrived(0, "old", "new")
		m.gotOnly(older, "old")
		m.gotOnly(newer, "old", "new")
	})
	t.Run("Upgrade", func(t *testing.T) {
		open := n.in(t)
		m := &mixture{t: t, e: start(t, open)}
		one, two := m.member("old"), m.member("old")
		leave := func(in *inbox) { _ = in.stop() } // the context's error
		m.publish()
		m.arrived(0, "old")
		// The members are replaced one after the other; then come types that only the new know.
		newer := m.member("old", "new")
		live(t, m.e, newer, "new")
		from := m.n
		m.publish()
		m.arrived(from, "old", "new")
		leave(one)
		m.publish()
		leave(newer) // the newest is restarted while an older one goes on
		m.publish()
		newer = m.member("old", "new")
		m.publish()
		leave(two)
		m.publish()
		m.arrived(from, "old", "new")
		m.gotOnly(one, "old")
		m.gotOnly(two, "old")
		m.gotOnly(newer, "old", "new")
	})
	t.Run("AllLeave", func(t *testing.T) {
		m := &mixture{t: t, e: start(t, n.in(t))}
		older := m.member("old")
		m.publish()
		m.arrived(0, "old")
		_ = older.stop() // the context's error
		from := m.n
		m.publish()
		newer := m.member("new") // it comes back before the other
		live(t, m.e, newer, "new")
		m.member("old")
		m.arrived(from, "old")
		m.gotOnly(newer, "new")
	})
	t.Run("Begins", func(t *testing.T) {
		m := &mixture{t: t, e: start(t, n.in(t))}
		older := m.member("old")
		publish(t, m.e, "new", "before anybody names it")
		publish(t, m.e, "old", "behind that")
		older.want("behind that")
		newer := m.member("new")
		live(t, m.e, newer, "new")
		publish(t, m.e, "new", "named")
		newer.want("named")
	})
	t.Run("Other", func(t *testing.T) { inTurn(t, n) })
}

// RunTypesInTurn checks a durable subscription whose members cannot name different
// types at once: a member with other types waits until the others have left, and
// gets what they did not settle and all that comes then. What it did not name waits a
// while for those that left.
func RunTypesInTurn(t *testing.T, n New) {
	t.Run("Waits", func(t *testing.T) {
		m := &mixture{t: t, e: start(t, n.in(t))}
		older := m.member("old")
		m.publish()
		m.arrived(0, "old")
		newer := m.member("old", "new")
		m.publish()
		m.arrived(0, "old")
		if got := newer.data(); len(got) > 0 {
			t.Errorf("a member with other types got %v while others were there", got)
		}
		_ = older.stop() // the context's error
		from := m.n
		m.publish()
		m.arrived(from, "old", "new")
		m.gotOnly(older, "old")
	})
	t.Run("AllLeave", func(t *testing.T) {
		m := &mixture{t: t, e: start(t, n.in(t))}
		older := m.member("old")
		m.publish()
		m.arrived(0, "old")
		_ = older.stop() // the context's error
		from := m.n
		m.publish()
		newer := m.member("new") // it comes back before the other
		for until := time.Now().Add(3 * time.Second); len(newer.data()) == 0 && time.Now().Before(until); {
			time.Sleep(2 * time.Millisecond) // it has the time to take what is not its own
		}
		m.member("old")
		m.arrived(from, "old")
		m.gotOnly(newer, "new")
	})
	t.Run("Other", func(t *testing.T) { inTurn(t, n) })
}

// inTurn replaces all members by members with other types.
func inTurn(t *testing.T, n New) {
	m := &mixture{t: t, e: start(t, n.in(t))}
	before := m.member("old")
	m.publish()
	m.arrived(0, "old")
	if err := before.stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	after := m.member("other")
	m.publish()
	m.arrived(20, "other")
	m.gotOnly(before, "old")
	m.gotOnly(after, "other")
}
