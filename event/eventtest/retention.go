package eventtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/micro/go-platform/event"
)

// RunRetention checks whether subscribers that are slower than retention hear of
// each record that they missed. expire removes the record and all before it from
// the log of a test, as retention does, or waits until retention has.
func RunRetention(t *testing.T, n New, expire func(t testing.TB, last *event.Record)) {
	t.Run("Away", func(t *testing.T) { expiredAway(t, n.in(t), expire) })
	t.Run("Slow", func(t *testing.T) { expiredSlow(t, n.in(t), expire) })
}

type expirer = func(t testing.TB, last *event.Record)

// counts wants that of all records, and one that is published now, those that
// did not arrive are said to be dropped, and that these are some.
func counts(t *testing.T, publisher, e event.Event, in *inbox, all int) {
	t.Helper()
	publish(t, publisher, "x", "end")
	all++
	seen := func() (arrived, dropped int) { return len(in.data()), int(e.Dropped()) }
	eventually(t, func() bool { arrived, dropped := seen(); return arrived+dropped >= all }, func() string {
		arrived, dropped := seen()
		return fmt.Sprintf("of %d records %d arrived and %d were dropped", all, arrived, dropped)
	})
	if arrived, dropped := seen(); arrived+dropped != all || dropped == 0 {
		t.Errorf("of %d records %d arrived and %d are said to be dropped", all, arrived, dropped)
	}
	before := uint64(0)
	for _, d := range in.deliveries() {
		if d.Sequence <= before {
			t.Errorf("record %d came after %d", d.Sequence, before)
		}
		before = d.Sequence
	}
}

func expiredAway(t *testing.T, open opener, expire expirer) {
	publisher := start(t, open)
	sent := publish(t, publisher, "x", numbers(0, 100)...)
	expire(t, sent[69])
	e := start(t, open)
	in := consume(t, e, nil, event.FromSequence(sent[0].Sequence))
	counts(t, publisher, e, in, 100)
}

func expiredSlow(t *testing.T, open opener, expire expirer) {
	publisher, e := start(t, open), start(t, open)
	gate := make(chan struct{})
	entered := make(chan struct{})
	var once sync.Once
	in := consume(t, e, func(context.Context, *event.Delivery) error {
		once.Do(func() { close(entered); <-gate })
		return nil
	}, event.FromBeginning())
	publish(t, publisher, "x", "first")
	<-entered
	// More than anybody reads ahead.
	const count, size = 800, 20_000
	var last *event.Record
	for range count / 100 {
		many := make([]string, 100)
		for i := range many {
			many[i] = strings.Repeat("x", size)
		}
		all := publish(t, publisher, "x", many...)
		last = all[len(all)-1]
	}
	expire(t, last)
	close(gate)
	counts(t, publisher, e, in, 1+count)
}
