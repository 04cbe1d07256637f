package eventtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/micro/go-platform/event"
)

// broken is an error whose methods panic when it is nil.
type broken struct{ text string }

func (b *broken) Error() string { return b.text }
func (b *broken) Unwrap() error { return errors.New(b.text) }

// notes is a log that can be read.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func (n *notes) logger() event.Option { return event.Logger(slog.New(slog.NewTextHandler(n, nil))) }

// Whatever a durable handler returns or panics with is a failure of its record:
// it comes again, becomes a dead letter, and the next ones are handled.
func hostileHandler(t *testing.T, open opener) {
	var log notes
	e := start(t, open, log.logger())
	bad := map[string]func() error{
		"bytes":              func() error { return event.Retry(0, errors.New("a\xff\xfeb")) },
		"bytes, rejected":    func() error { return event.Reject(errors.New("a\xff\xfeb")) },
		"bytes, as they are": func() error { return errors.New("\xc3\x28" + strings.Repeat("long ", 10_000)) },
		"nil":                func() error { return (*broken)(nil) },
		"nil, again":         func() error { return event.Retry(0, (*broken)(nil)) },
		"nil, rejected":      func() error { return event.Reject((*broken)(nil)) },
		"nothing, again":     func() error { return event.Retry(0, nil) },
		"nothing, rejected":  func() error { return event.Reject(nil) },
		"panic":              func() error { panic("told to: \xff") },
		"panic of an error":  func() error { panic((*broken)(nil)) },
	}
	var names []string
	for name := range bad {
		names = append(names, name)
	}
	slices.Sort(names)
	dead := consume(t, e, nil, event.FromBeginning(), event.Types(event.DeadLetterType("hostile")))
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		if f := bad[d.Data]; f != nil {
			return f()
		}
		return nil
	}, event.Durable("hostile"), event.FromBeginning(), event.MaxTries(2))
	publish(t, e, "x", append(names, "good")...)
	in.want("good")
	dead.wantAny(slices.Clone(names)...)
	for _, d := range dead.deliveries() {
		reason, tries := d.Metadata[event.DeadReason], d.Metadata[event.DeadTries]
		if !utf8.ValidString(reason) || len(reason) > 1<<10 || strings.HasSuffix(d.Data, "rejected") != (tries == "1") {
			t.Errorf("%s: dead after %s tries because of %.100q", d.Data, tries, reason)
		}
		if d.Data == "panic" && !strings.Contains(reason, "panicked: told to") {
			t.Errorf("%s: reason %q", d.Data, reason)
		}
	}
	publish(t, e, "x", "after")
	in.want("good", "after")
	if got := log.String(); strings.Count(got, "handler panicked") != 1 || !strings.Contains(got, "hostileHandler") {
		t.Errorf("four panics were not logged once, with the stack: %s", got)
	}
	_ = in.stop() // the context's error
	if got := log.String(); !strings.Contains(got, "panics=4") {
		t.Errorf("four panics were not counted: %s", got)
	}
}

// A panic ends Consume without Durable as an error does, and Subscribe goes on
// with the next record.
func hostilePlainHandler(t *testing.T, open opener) {
	var log notes
	e := start(t, open, log.logger())
	publish(t, e, "x", "1", "panic", "2")
	in := consume(t, e, func(_ context.Context, d *event.Delivery) error {
		if d.Data == "panic" {
			panic(fmt.Errorf("told to: %w", errTold))
		}
		return nil
	}, event.FromBeginning())
	in.want("1")
	eventually(t, func() bool { return len(in.over) > 0 }, func() string { return "the panic ends Consume" })
	if err := in.stop(); err == nil || !strings.Contains(err.Error(), "panicked: told to") {
		t.Errorf("Consume returned %v", err)
	}
	nothing := consume(t, e, func(context.Context, *event.Delivery) error { return (*broken)(nil) }, event.FromBeginning())
	eventually(t, func() bool { return len(nothing.over) > 0 }, func() string { return "an error that is a nil pointer ends Consume" })

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over, heard := make(chan error, 1), make(chan string, 1000)
	go func() {
		over <- e.Subscribe(ctx, func(r *event.Record) {
			if r.Data == "panic" {
				panic("told to")
			}
			heard <- r.Data
		}, "s")
	}()
	eventually(t, func() bool {
		publish(t, e, "s", "probe")
		return len(heard) > 0
	}, func() string { return "Subscribe begins" })
	publish(t, e, "s", "panic", "last")
	eventually(t, func() bool {
		select {
		case got := <-heard:
			return got == "last"
		case err := <-over:
			t.Fatalf("Subscribe returned %v", err)
		default:
		}
		return false
	}, func() string { return "Subscribe goes on behind the panic" })
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe returned %v", err)
	}
	if got := log.String(); strings.Count(got, "handler panicked") != 2 {
		t.Errorf("the panics of two subscriptions were not logged once each: %s", got)
	}
}

// A done that panics costs no record and no other done.
func hostileDone(t *testing.T, open opener) {
	var log notes
	e := start(t, open, log.logger())
	told := make(chan error, 1)
	for _, done := range []func(*event.Record, error){
		func(*event.Record, error) { panic("told to") },
		func(*event.Record, error) { panic("told to") },
		func(_ *event.Record, err error) { told <- err },
	} {
		if err := e.PublishAsync(context.Background(), &event.Record{Type: "x", Data: "async"}, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-told; err != nil {
		t.Errorf("the record behind those whose done panics: %v", err)
	}
	consume(t, e, nil, event.FromBeginning()).want("async", "async", "async")
	if n := e.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
	if got := log.String(); strings.Count(got, "done panicked") != 1 || !strings.Contains(got, "hostileDone") {
		t.Errorf("two panics were not logged once, with the stack: %s", got)
	}
}
