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

func collect(t *testing.T, s subject) {
	tr := s.start(t)
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
	got := s.await(t, root.TraceId, 2)
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

func collectTwice(t *testing.T, s subject) {
	tr := s.start(t)
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
	s.await(t, span.TraceId, 2)
	if err := tr.Collect(nil); err == nil {
		t.Error("Collect(nil) succeeded")
	}
}

// firstCall collects without Start, as the examples of the original go-platform do.
func firstCall(t *testing.T, s subject) {
	tr := s.new(t)
	span := tr.NewSpan(nil)
	span.Name = "early"
	if err := tr.Collect(span); err != nil {
		t.Fatal(err)
	}
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
	s.await(t, span.TraceId, 1)
}

func stopFlushes(t *testing.T, s subject) {
	tr := s.new(t, trace.BatchInterval(time.Hour))
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
	s.await(t, root.TraceId, 10)
}

func concurrency(t *testing.T, s subject) {
	tr := s.start(t)
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
	s.await(t, root.TraceId, 81)
}

type broken struct{ text string }

func (b *broken) Error() string { return b.text }

// hostileTexts has bytes that are not UTF-8, which a stranger can send in a header,
// in every text of a span: the span arrives, and so does the rest of its batch.
func hostileTexts(t *testing.T, s subject) {
	tr := s.start(t, trace.BatchInterval(time.Second)) // one batch
	const bad = "a\xff\xc3b"
	all := map[string]string{bad: bad}
	service := &registry.Service{Name: bad, Version: bad, Metadata: all, Nodes: []*registry.Node{{Id: bad, Address: bad + ":1", Metadata: all}, nil}}
	root := tr.NewSpan(nil)
	root.Name = "root"
	span := tr.NewSpan(root)
	span.Name, span.Source, span.Destination = bad, service, service
	span.Annotate(bad, bad)
	span.Fail(errors.New(bad))
	span.Fail((*broken)(nil))
	span.Annotations = append(span.Annotations, nil, &trace.Annotation{Timestamp: time.Now(), Key: bad, Value: []byte(bad), Debug: all, Service: service})
	for _, s := range []*trace.Span{span, root} {
		if err := tr.Collect(s); err != nil {
			t.Fatal(err)
		}
	}
	s.await(t, root.TraceId, 2)
	if n := tr.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func debug(t *testing.T, s subject) {
	for _, md := range []map[string]string{
		{"X-Micro-Trace-Id": strings.Repeat("a", 32), "X-Micro-Span-Id": strings.Repeat("b", 16), "X-Micro-Trace-Debug": "true"},
		{"X-Micro-Trace-Id": strings.Repeat("a", 32), "X-Micro-Span-Id": strings.Repeat("b", 16), "X-Micro-Trace-Debug": "1"},
		{"b3": strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-d"},
		{"X-B3-TraceId": strings.Repeat("a", 32), "X-B3-SpanId": strings.Repeat("b", 16), "X-B3-Flags": "1"},
	} {
		for _, trust := range []bool{false, true} {
			tr := s.new(t, trace.SampleRatio(0), trace.TrustDebug(trust))
			parent, ok := tr.FromHeader(md)
			if !ok {
				t.Fatalf("%v is no parent", md)
			}
			if span := tr.NewSpan(parent); span.Sampled() != trust || span.Debug != trust {
				t.Errorf("%v, trusted %v: sampled %v, debug %v", md, trust, span.Sampled(), span.Debug)
			}
		}
	}
}
