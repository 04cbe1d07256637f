package eventtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
)

func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

func keepsRecords(t *testing.T, open opener) {
	e := start(t, open, event.Origin("suite"))
	at := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)
	want := []*event.Record{
		{Id: "a", Type: "order.created", Origin: "shop", Timestamp: at.Unix(), TimestampNano: at.UnixNano(), RootId: "r", Key: "k",
			Metadata: map[string]string{"X-Case": "kept", "empty": "", "snow": "\u2603\n"}, Data: allBytes()},
		{Id: "b/ 1%*.>", Type: "häppy . type..>x", Timestamp: 1, Data: "\u2603 text"},
		{Id: "c", Type: strings.Repeat("t", event.MaxType)},
		{},
	}
	before := time.Now().Add(-time.Second)
	if err := e.PublishAll(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	if last := want[3]; last.Id == "" || last.Type != event.DefaultEventType || last.Origin != "suite" || last.Time().Before(before) {
		t.Errorf("an empty record became %+v", last)
	}
	in := consume(t, e, nil, event.FromBeginning())
	eventually(t, func() bool { return len(in.data()) == len(want) }, func() string { return "all arrive" })
	for i, d := range in.deliveries() {
		w := want[i]
		if d.Id != w.Id || d.Type != w.Type || d.Origin != w.Origin || d.Timestamp != w.Timestamp || d.TimestampNano != w.TimestampNano ||
			d.RootId != w.RootId || d.Key != w.Key || d.Data != w.Data || !maps.Equal(d.Metadata, w.Metadata) {
			t.Errorf("got %+v\nwant %+v", d.Record, w)
		}
		if d.Sequence != w.Sequence || d.Try != 1 {
			t.Errorf("record %d: sequence %d, Publish said %d; try %d", i, d.Sequence, w.Sequence, d.Try)
		}
		if i > 0 && d.Sequence != want[i-1].Sequence+1 {
			t.Errorf("record %d: sequence %d after %d", i, d.Sequence, want[i-1].Sequence)
		}
	}
}

func badInput(t *testing.T, open opener) {
	e := start(t, open)
	many := make(map[string]string)
	for i := range event.MaxMetadataKeys + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for field, r := range map[string]*event.Record{
		"id":         {Id: strings.Repeat("i", event.MaxID+1)},
		"type":       {Type: strings.Repeat("t", event.MaxType+1)},
		"type ":      {Type: "a.*"},
		"type  ":     {Type: event.ReservedPrefix + "dead.x"},
		"type   ":    {Type: "line\nbreak"},
		"origin":     {Origin: "\x00"},
		"root_id":    {RootId: "\xff"},
		"key":        {Key: strings.Repeat("k", event.MaxID+1)},
		"timestamp":  {Timestamp: -1},
		"metadata":   {Metadata: many},
		"metadata ":  {Metadata: map[string]string{"k": strings.Repeat("v", event.MaxMetadata)}},
		"metadata  ": {Metadata: map[string]string{"k": "\xff"}},
		"record":     {Data: strings.Repeat("d", event.MaxRecord)},
	} {
		field = strings.TrimSpace(field)
		for name, err := range map[string]error{
			"Publish":      e.Publish(context.Background(), r),
			"PublishAsync": e.PublishAsync(context.Background(), r, nil),
		} {
			if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), field) {
				t.Errorf("%s with a bad %s: %v", name, field, err)
			}
		}
	}
	if err := e.Publish(context.Background(), nil); !errors.Is(err, event.ErrInvalid) {
		t.Errorf("no record: %v", err)
	}
	for name, opts := range map[string][]event.ConsumeOption{
		"Types":        {event.Types("a*")},
		"Durable":      {event.Durable("a\nb")},
		"MaxTries":     {event.Durable("a"), event.MaxTries(-1)},
		"AckWait":      {event.Durable("a"), event.AckWait(time.Nanosecond)},
		"Concurrency":  {event.Concurrency(2)},
		"Ordered":      {event.Ordered()},
		"Prefetch":     {event.Durable("a"), event.Prefetch(event.MaxPrefetch + 1)},
		"FromSequence": {event.FromSequence(0)},
	} {
		err := e.Consume(context.Background(), func(context.Context, *event.Delivery) error { return nil }, opts...)
		if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("Consume with a bad %s: %v", name, err)
		}
	}
	in := consume(t, e, nil, event.FromBeginning())
	publish(t, e, "good", "1")
	in.want("1") // nothing else was appended
}

// firstCalls makes each call the first one, and the one after Stop.
func firstCalls(t *testing.T, open opener) {
	ctx := context.Background()
	for name, call := range map[string]func(event.Event) error{
		"PublishAll":   func(e event.Event) error { return e.PublishAll(ctx, nil) },
		"PublishAsync": func(e event.Event) error { return e.PublishAsync(ctx, &event.Record{Type: "async"}, nil) },
		"Flush":        func(e event.Event) error { return e.Flush(ctx) },
		"Subscribe": func(e event.Event) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			if err := e.Subscribe(ctx, func(*event.Record) {}); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
	} {
		e := open()
		if err := call(e); err != nil {
			t.Errorf("%s before Start: %v", name, err)
		}
		flush, cancel := context.WithTimeout(ctx, patience)
		if err := e.Flush(flush); err != nil {
			t.Errorf("Flush after %s: %v", name, err)
		}
		cancel()
		if err := e.Stop(); err != nil {
			t.Errorf("Stop after %s: %v", name, err)
		}
		if err := call(e); !errors.Is(err, event.ErrStopped) || err.Error() != "event: stopped" {
			t.Errorf("%s after Stop: %v", name, err)
		}
	}
	e := open()
	in := consume(t, e, nil)
	live(t, e, in, "probe")
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := in.stop(); !errors.Is(err, event.ErrStopped) && !errors.Is(err, context.Canceled) {
		t.Errorf("Consume at Stop: %v", err)
	}
}

func duplicates(t *testing.T, open opener) {
	e := start(t, open)
	first := &event.Record{Id: "same", Data: "first"}
	if err := e.Publish(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := &event.Record{Id: "same", Data: "again"}
			if err := e.Publish(context.Background(), r); err != nil || r.Sequence != first.Sequence {
				t.Errorf("again: sequence %d, %v; want %d", r.Sequence, err, first.Sequence)
			}
			twin := fmt.Sprint("twin", i/2)
			if err := e.Publish(context.Background(), &event.Record{Id: twin, Data: twin}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Twice in one request.
	if err := e.PublishAll(context.Background(), []*event.Record{{Id: "pair", Data: "pair"}, {Id: "pair", Data: "other"}}); err != nil {
		t.Fatal(err)
	}
	in := consume(t, e, nil, event.FromBeginning())
	want := []string{"first", "pair", "end"}
	for i := range 10 {
		want = append(want, fmt.Sprint("twin", i))
	}
	publish(t, e, "x", "end")
	in.wantAny(want...)
}

func publishAll(t *testing.T, open opener) {
	e := start(t, open)
	records := []*event.Record{{Data: "1"}, {Type: "bad*", Data: "2"}, {Data: "3"}}
	err := e.PublishAll(context.Background(), records)
	var bad *event.RecordError
	if !errors.Is(err, event.ErrInvalid) || !errors.As(err, &bad) || bad.Record != records[1] {
		t.Fatalf("one bad record: %v", err)
	}
	many := make([]*event.Record, 1200)
	want := []string{"1", "3"}
	for i := range many {
		many[i] = &event.Record{Data: fmt.Sprint("m", i)}
		want = append(want, many[i].Data)
	}
	if err := e.PublishAll(context.Background(), many); err != nil {
		t.Fatal(err)
	}
	if err := e.PublishAll(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	consume(t, e, nil, event.FromBeginning()).want(want...)
}

func publishAsync(t *testing.T, open opener) {
	e := start(t, open, event.QueueSize(50))
	var mu sync.Mutex
	var done, want []string
	for i := range 500 {
		r := &event.Record{Data: fmt.Sprint(i)}
		want = append(want, r.Data)
		err := e.PublishAsync(context.Background(), r, func(r *event.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil || r.Sequence == 0 {
				t.Errorf("record %s: sequence %d, %v", r.Data, r.Sequence, err)
			}
			done = append(done, r.Data)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if len(done) != 500 {
		t.Errorf("%d records done after Flush, want 500", len(done))
	}
	mu.Unlock()
	consume(t, e, nil, event.FromBeginning()).want(want...)
	if n := e.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}
