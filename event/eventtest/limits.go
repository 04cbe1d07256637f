package eventtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/internal/clean"
)

// largest is a record of MaxRecord bytes, less some.
func largest(less int) *event.Record {
	r := &event.Record{Id: "largest", Type: "large", Timestamp: 1}
	lo, hi := 0, event.MaxRecord
	for lo < hi { // the length of the lengths is not linear
		r.Data = strings.Repeat("x", (lo+hi+1)/2)
		if wire.Validate(wire.Message((*wire.Record)(r))) == nil {
			lo = len(r.Data)
		} else {
			hi = len(r.Data) - 1
		}
	}
	r.Data = strings.Repeat("x", lo-less)
	return r
}

// A record that is as large as records may be is either appended or refused,
// where the log has a bound of its own; it holds up nobody.
func largestRecord(t *testing.T, open opener) {
	e := start(t, open)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	told := make(chan error, 2)
	for _, r := range []*event.Record{largest(0), {Type: "small", Data: "small"}} {
		if err := e.PublishAsync(ctx, r, func(_ *event.Record, err error) { told <- err }); err != nil {
			t.Fatal(err)
		}
	}
	err := <-told
	if err != nil && !errors.Is(err, event.ErrInvalid) {
		t.Errorf("the largest record: %v", err)
	}
	if err := <-told; err != nil {
		t.Errorf("the one behind it: %v", err)
	}
	if again := e.Publish(ctx, largest(0)); (again == nil) != (err == nil) || again != nil && !errors.Is(again, event.ErrInvalid) {
		t.Errorf("published again: %v, was %v", again, err)
	}
	var bad *event.RecordError
	small := &event.Record{Type: "small", Data: "another"}
	if all := e.PublishAll(ctx, []*event.Record{largest(0), small}); errors.As(all, &bad) != (err != nil) || small.Sequence == 0 {
		t.Errorf("published with another: %v, which became record %d", all, small.Sequence)
	}
	consume(t, e, nil, event.FromBeginning(), event.Types("small")).want("small", "another")
}

// A dead letter is longer than its record. Where it would not fit, its data is
// cut off and it says so.
func largeDeadLetter(t *testing.T, open opener) {
	e := start(t, open)
	var sent *event.Record
	for less := 0; sent == nil; less += 50 {
		r := largest(less)
		switch err := e.Publish(context.Background(), r); {
		case err == nil:
			sent = r
		case !errors.Is(err, event.ErrInvalid) || less > 2000:
			t.Fatalf("a record of the largest size less %d: %v", less, err)
		}
	}
	d := event.Durable(strings.Repeat("n", event.MaxName))
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		if d.Data == "after" {
			return nil
		}
		return event.Reject(errors.New(strings.Repeat("r", 2000)))
	}, d, event.FromBeginning())
	dead := consume(t, e, nil, event.FromBeginning(), event.Types(event.DeadLetterType(strings.Repeat("n", event.MaxName))))
	eventually(t, func() bool { return len(dead.data()) > 0 }, func() string { return "the dead letter arrives" })
	got := dead.deliveries()[0]
	missing := len(sent.Data) - len(got.Data)
	if !strings.HasPrefix(sent.Data, got.Data) || missing > 4000 || (missing > 0) != (got.Metadata[event.DeadCut] != "") ||
		got.Metadata[event.DeadReason] != clean.Text(strings.Repeat("r", 2000), 1024) {
		t.Errorf("%d bytes of %d, cut: %q", len(got.Data), len(sent.Data), got.Metadata[event.DeadCut])
	}
	publish(t, e, "large", "after")
	in.want("after")
}

// A record that no member settles becomes a dead letter, too.
func deadlyRecord(t *testing.T, open opener) {
	hung := make(chan struct{})
	e := start(t, open)
	dead := consume(t, e, nil, event.FromBeginning(), event.Types(event.DeadLetterType("deadly")))
	var all []*inbox
	for range 2 {
		all = append(all, consume(t, start(t, open), func(_ context.Context, d *event.Delivery) error {
			if d.Data == "deadly" {
				<-hung
			}
			return nil
		}, event.Durable("deadly"), event.FromBeginning(), event.MaxTries(2), event.AckWait(300*time.Millisecond), event.Concurrency(4), event.Prefetch(4)))
	}
	t.Cleanup(func() { close(hung) }) // before the members stop, which wait for their handlers
	publish(t, e, "x", "deadly")
	dead.want("deadly")
	if got := dead.deliveries()[0].Metadata[event.DeadTries]; got < "2" || got > "4" { // the log may doubt whether a record was to blame
		t.Errorf("a dead letter after %s tries", got)
	}
	// It has cost each at most the one worker that still hangs.
	want := numbers(0, 20)
	publish(t, e, "x", want...)
	handled := func() int { return len(all[0].data()) + len(all[1].data()) }
	eventually(t, func() bool { return handled() >= len(want) }, func() string { return "the others are handled" })
}

// A handler that hangs costs its member one place, however often the log sends
// the record again.
func hungPlace(t *testing.T, open opener) {
	e := start(t, open)
	hung := make(chan struct{})
	var times int
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		if d.Data == "hangs" {
			<-hung
		}
		return nil
	}, event.Durable("place"), event.FromBeginning(), event.AckWait(event.MinAckWait), event.MaxTries(0), event.Concurrency(3), event.Prefetch(3))
	publish(t, e, "x", "hangs")
	for range 15 { // longer than it takes to send it three times
		publish(t, e, "x", "passes")
		times++
		eventually(t, func() bool { return len(in.data()) == times }, func() string { return "the others are handled" })
		time.Sleep(event.MinAckWait) // the time that is the matter of the test
	}
	close(hung)
	eventually(t, func() bool { return len(in.data()) > times }, func() string { return "it ends at last" })
}
