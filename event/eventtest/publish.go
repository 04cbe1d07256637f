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

// firstCalls makes each method the first call, and the call after Stop.
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
	if err := e.Publish(context.Background(), first); err != nil || first.Duplicate {
		t.Fatal(first.Duplicate, err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := &event.Record{Id: "same", Data: "first"}
			if err := e.Publish(context.Background(), r); err != nil || r.Sequence != first.Sequence || !r.Duplicate {
				t.Errorf("again: sequence %d, duplicate %t, %v; want %d", r.Sequence, r.Duplicate, err, first.Sequence)
			}
			twin := fmt.Sprint("twin", i/2)
			if err := e.Publish(context.Background(), &event.Record{Id: twin, Data: twin}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Twice in one request.
	pair := []*event.Record{{Id: "pair", Data: "pair"}, {Id: "pair", Data: "pair"}}
	if err := e.PublishAll(context.Background(), pair); err != nil || pair[0].Duplicate || !pair[1].Duplicate {
		t.Fatal(pair[0].Duplicate, pair[1].Duplicate, err)
	}
	in := consume(t, e, nil, event.FromBeginning())
	want := []string{"first", "pair", "end"}
	for i := range 10 {
		want = append(want, fmt.Sprint("twin", i))
	}
	publish(t, e, "x", "end")
	in.wantAny(want...)
}

// reused publishes one record again and again, changed in between.
func reused(t *testing.T, open opener) {
	e, ctx := start(t, open), context.Background()
	r := &event.Record{Type: "x"}
	ids := map[string]bool{}
	for _, data := range numbers(0, 5) {
		before := time.Now().Add(-time.Minute)
		r.Data = data
		if err := e.Publish(ctx, r); err != nil || r.Duplicate || ids[r.Id] || r.Time().Before(before) {
			t.Errorf("%s: duplicate %t, id %s, time %v, %v", data, r.Duplicate, r.Id, r.Time(), err)
		}
		ids[r.Id] = true
	}
	// Unchanged, it is the same event, as after an error.
	id, sequence := r.Id, r.Sequence
	if err := e.Publish(ctx, r); err != nil || !r.Duplicate || r.Id != id || r.Sequence != sequence {
		t.Errorf("unchanged: duplicate %t, id %s, sequence %d, %v", r.Duplicate, r.Id, r.Sequence, err)
	}
	in := consume(t, e, nil, event.FromBeginning(), event.Types("x"))
	in.want(numbers(0, 5)...)
	// What was received is another event under another type.
	got := in.deliveries()[0].Record
	got.Type = "y"
	if err := e.Publish(ctx, got); err != nil || got.Duplicate {
		t.Errorf("under another type: duplicate %t, %v", got.Duplicate, err)
	}
	for _, change := range []func(){
		func() { r.Metadata = map[string]string{"a": "b"} }, func() { r.Key = "k" }, func() { r.Timestamp, r.TimestampNano = 7, 0 },
	} {
		change()
		if err := e.Publish(ctx, r); err != nil || r.Duplicate {
			t.Errorf("changed: duplicate %t, %v", r.Duplicate, err)
		}
	}
	if r.Timestamp != 7 {
		t.Errorf("the caller's time became %d", r.Timestamp)
	}
	consume(t, e, nil, event.FromBeginning(), event.Types("y")).want("0")
	consume(t, e, nil, event.FromBeginning(), event.Types("x")).want(append(numbers(0, 5), "4", "4", "4")...)
}

// conflicts are events of one id that the caller chose.
func conflicts(t *testing.T, open opener) {
	e, ctx := start(t, open), context.Background()
	if err := e.Publish(ctx, &event.Record{Id: "mine", Data: "first"}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*event.Record{
		"data": {Id: "mine", Data: "other"}, "type": {Id: "mine", Data: "first", Type: "other"}, "key": {Id: "mine", Data: "first", Key: "k"},
		"metadata": {Id: "mine", Data: "first", Metadata: map[string]string{"a": "b"}},
	} {
		if err := e.Publish(ctx, r); !errors.Is(err, event.ErrConflict) || r.Id != "mine" {
			t.Errorf("other %s: %v", name, err)
		}
	}
	all := []*event.Record{{Data: "a"}, {Id: "mine", Data: "other"}, {Data: "b"}}
	var bad *event.RecordError
	if err := e.PublishAll(ctx, all); !errors.As(err, &bad) || bad.Record != all[1] || !errors.Is(err, event.ErrConflict) {
		t.Errorf("among others: %v", err)
	}
	told := make(chan error, 1)
	if err := e.PublishAsync(ctx, &event.Record{Id: "mine", Data: "other"}, func(_ *event.Record, err error) { told <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, event.ErrConflict) {
		t.Errorf("queued: %v", err)
	}
	consume(t, e, nil, event.FromBeginning()).want("first", "a", "b")
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

// asyncReused publishes one variable again and again while the records wait.
func asyncReused(t *testing.T, open opener) {
	const count = 300
	e := start(t, open)
	var mu sync.Mutex
	done := map[string]bool{}
	r := &event.Record{Metadata: map[string]string{}}
	for i := range count {
		r.Data = fmt.Sprint(i)
		r.Metadata["data"] = r.Data
		err := e.PublishAsync(context.Background(), r, func(r *event.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil || r.Sequence == 0 || r.Duplicate || r.Metadata["data"] != r.Data || done[r.Data] {
				t.Errorf("done with %+v, %v", r, err)
			}
			done[r.Data] = true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	in := consume(t, e, nil, event.FromBeginning())
	in.want(numbers(0, count)...)
	for _, d := range in.deliveries() {
		if d.Metadata["data"] != d.Data {
			t.Errorf("record %s has the metadata %v", d.Data, d.Metadata)
		}
	}
}
