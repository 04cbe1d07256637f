package eventtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
)

// RunRestart checks whether an Event survives the death of the server that
// keeps its log: kill kills it, restart starts it again with what was on disk.
func RunRestart(t *testing.T, n New, kill, restart func(testing.TB)) {
	open := n.in(t)
	e := start(t, open, event.Timeout(2*time.Second))
	follower := consume(t, e, nil, event.FromBeginning())
	durable := consume(t, e, nil, event.FromBeginning(), event.Durable("restart"))
	publish(t, e, "x", numbers(0, 50)...)
	follower.want(numbers(0, 50)...)
	durable.want(numbers(0, 50)...)
	kill(t)
	r := &event.Record{Type: "x", Data: "50"}
	err := e.Publish(context.Background(), r)
	if !errors.Is(err, event.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish without the server: %v", err)
	}
	restart(t)
	eventually(t, func() bool { return e.Publish(context.Background(), r) == nil }, func() string { return "Publish works again" })
	publish(t, e, "x", numbers(51, 100)...)
	follower.want(numbers(0, 100)...)
	eventually(t, func() bool { return len(distinct(durable.data())) == 100 }, func() string { return "the durable subscription goes on" })
}

func distinct(all []string) map[string]bool {
	found := make(map[string]bool, len(all))
	for _, s := range all {
		found[s] = true
	}
	return found
}
