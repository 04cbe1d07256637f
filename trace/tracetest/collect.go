package tracetest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/trace"
)

func collect(t *testing.T, s Subject) {
	tr := start(t, s)
	shop := &registry.Service{Name: "shop", Nodes: []*registry.Node{{Id: "shop-1", Address: "127.0.0.1:8080"}}}
	root := tr.NewSpan(nil)
	root.Name, root.Destination = "Shop.Buy", shop
	root.Annotations = append(root.Annotations, &trace.Annotation{Timestamp: root.Timestamp, Type: trace.AnnServerRequest, Service: shop})
	root.Duration = 1500 * time.Microsecond
	child := tr.NewSpan(root)
	child.Name, child.Source, child.Destination = "Stock.Take", shop, &registry.Service{Name: "stock"}
	child.Annotations = append(child.Annotations, &trace.Annotation{Timestamp: child.Timestamp, Type: trace.AnnClientRequest, Service: shop})
	child.Annotate("item", "tea")
	child.Fail(errors.New("sold out"))
	child.Duration = 250 * time.Microsecond
	for _, span := range []*trace.Span{child, root} {
		if err := tr.Collect(span); err != nil {
			t.Fatal(err)
		}
	}
	got := await(t, s, root.TraceId, 2)
	expect(t, got[root.Id], Span{ID: root.Id, Name: "shop.buy", Kind: trace.KindServer, Service: "shop", Duration: 1500 * time.Microsecond})
	expect(t, got[child.Id], Span{ID: child.Id, ParentID: root.Id, Name: "stock.take", Kind: trace.KindClient, Service: "shop",
		Duration: 250 * time.Microsecond, Error: "sold out", Tags: map[string]string{"item": "tea"}})
}

func expect(t *testing.T, got, want Span) {
	t.Helper()
	got.Name = strings.ToLower(got.Name)
	for k, v := range want.Tags {
		if got.Tags[k] != v {
			t.Errorf("%s: tag %s is %q, want %q", want.Name, k, got.Tags[k], v)
		}
	}
	if got.ID != want.ID || got.ParentID != want.ParentID || got.Name != want.Name || got.Kind != want.Kind ||
		got.Service != want.Service || got.Duration != want.Duration || got.Error != want.Error {
		t.Errorf("arrived\n%+v, want\n%+v", got, want)
	}
}

func collectTwice(t *testing.T, s Subject) {
	tr := start(t, s)
	span := tr.NewSpan(nil)
	span.Name = "once"
	for range 2 {
		if err := tr.Collect(span); err != nil {
			t.Fatal(err)
		}
	}
	if span.Duration <= 0 {
		t.Error("Collect did not set the duration")
	}
	last := tr.NewSpan(span) // when it has arrived, so has the second copy
	last.Name = "last"
	if err := tr.Collect(last); err != nil {
		t.Fatal(err)
	}
	await(t, s, span.TraceId, 2)
	if err := tr.Collect(nil); err == nil {
		t.Error("Collect(nil) succeeded")
	}
}

func beforeStart(t *testing.T, s Subject) {
	tr := s.New(t)
	span := tr.NewSpan(nil)
	span.Name = "early"
	if err := tr.Collect(span); err != nil {
		t.Fatal(err)
	}
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
	await(t, s, span.TraceId, 1)
}

func stopFlushes(t *testing.T, s Subject) {
	tr := s.New(t, trace.BatchInterval(time.Hour))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	root := tr.NewSpan(nil)
	for range 9 {
		span := tr.NewSpan(root)
		span.Name = "child"
		if err := tr.Collect(span); err != nil {
			t.Fatal(err)
		}
	}
	root.Name = "root"
	if err := tr.Collect(root); err != nil {
		t.Fatal(err)
	}
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
	await(t, s, root.TraceId, 10)
}

func lifecycle(t *testing.T, s Subject) {
	tr := s.New(t)
	for range 2 {
		if err := tr.Start(); err != nil {
			t.Fatalf("start: %v", err)
		}
	}
	for range 2 {
		if err := tr.Stop(); err != nil {
			t.Fatalf("stop: %v", err)
		}
	}
	if err := tr.Start(); !errors.Is(err, trace.ErrStopped) {
		t.Errorf("Start after Stop: %v", err)
	}
	if err := tr.Collect(tr.NewSpan(nil)); err == nil {
		t.Error("Collect after Stop kept the span")
	}
	if n := tr.Dropped(); n != 1 {
		t.Errorf("%d dropped, want the span after Stop", n)
	}
	if err := s.New(t).Stop(); err != nil {
		t.Errorf("Stop without Start: %v", err)
	}
}

func badOptions(t *testing.T, s Subject) {
	for name, opt := range map[string]trace.Option{
		"BatchSize":      trace.BatchSize(-1),
		"BatchInterval":  trace.BatchInterval(-time.Second),
		"CollectTimeout": trace.CollectTimeout(0),
		"QueueSize":      trace.QueueSize(0),
		"Topic":          trace.Topic(""),
		"SampleRatio":    trace.SampleRatio(1.5),
		"SampleRate":     trace.SampleRate(-1),
		"Headers":        trace.Headers(),
		"Collectors":     trace.Collectors([]string{""}),
	} {
		tr := s.New(t, opt)
		if err := tr.Start(); !errors.Is(err, trace.ErrInvalid) || !strings.Contains(err.Error(), "option "+name) {
			t.Errorf("%s: Start returned %v", name, err)
		}
		if err := tr.Stop(); err != nil {
			t.Errorf("%s: Stop returned %v", name, err)
		}
	}
}

func concurrency(t *testing.T, s Subject) {
	tr := start(t, s)
	root := tr.NewSpan(nil)
	root.Name = "root"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				span := tr.NewSpan(root)
				span.Name = "child"
				root.Annotate("k", "v")
				if err := tr.Collect(span); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := tr.Collect(root); err != nil {
		t.Fatal(err)
	}
	await(t, s, root.TraceId, 81)
}
