package srv_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	tracesrv "github.com/micro/go-platform/trace/internal/srv"
	pb "github.com/micro/go-platform/trace/proto"
)

func TestStore(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) { testStore(t, empty(t)) })
	t.Run("memory", func(t *testing.T) { testStore(t, "sqlite::memory:") })
}

// testStore is what every database must pass.
func testStore(t *testing.T, url string) {
	for name, test := range map[string]func(*testing.T, tracesrv.Store){
		"Idempotent":   storeIdempotent,
		"Read":         storeRead,
		"Search":       storeSearch,
		"Dependencies": storeDependencies,
		"Expire":       storeExpire,
		"Concurrent":   storeConcurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, tracesrv.OpenStore(t, url)) })
	}
}

func id(n int) string      { return fmt.Sprintf("%016x", n) }
func traceID(n int) string { return fmt.Sprintf("%032x", n) }

type change func(*pb.Span)

func newSpan(trace, span, parent int, changes ...change) *pb.Span {
	s := &pb.Span{TraceId: traceID(trace), Id: id(span), Name: "work", Timestamp: 1_000_000 + int64(span), Duration: 10}
	if parent != 0 {
		s.ParentId = id(parent)
	}
	for _, c := range changes {
		c(s)
	}
	return s
}

func side(typ pb.AnnotationType, source, destination string) change {
	return func(s *pb.Span) {
		s.Source, s.Destination = &pb.Service{Name: source}, &pb.Service{Name: destination}
		s.Annotations = append(s.Annotations, &pb.Annotation{Type: typ, Timestamp: s.Timestamp})
	}
}

func tag(key, value string) change {
	return func(s *pb.Span) {
		s.Annotations = append(s.Annotations, &pb.Annotation{Key: key, Value: []byte(value)})
	}
}

func took(begin, duration int64) change {
	return func(s *pb.Span) { s.Timestamp, s.Duration = begin, duration }
}

func named(name string) change { return func(s *pb.Span) { s.Name = name } }

func ids(spans []*pb.Span) string {
	var all []string
	for _, s := range spans {
		all = append(all, strings.TrimLeft(s.Id, "0"))
	}
	return strings.Join(all, " ")
}

func storeIdempotent(t *testing.T, s tracesrv.Store) {
	now := time.Now()
	s.Insert(t, now, newSpan(1, 1, 0, tag("a", "b")))
	s.Insert(t, now, newSpan(1, 1, 0, tag("a", "b"), named("again")), newSpan(1, 2, 1))
	spans, _, err := s.Read(t.Context(), traceID(1), 10)
	if err != nil || ids(spans) != "1 2" || spans[0].Name != "work" {
		t.Fatalf("%v, %v", spans, err)
	}
	// Zipkin's old way: both sides share an id and are told apart by kind.
	s.Insert(t, now, newSpan(2, 1, 0, side(pb.AnnotationType_CLIENT_REQUEST, "a", "b")), newSpan(2, 1, 0, side(pb.AnnotationType_SERVER_REQUEST, "a", "b")))
	if spans, _, _ = s.Read(t.Context(), traceID(2), 10); len(spans) != 2 { // an error shows below
		t.Fatalf("%d spans, want both sides", len(spans))
	}
}

func storeRead(t *testing.T, s tracesrv.Store) {
	full := newSpan(1, 3, 1, side(pb.AnnotationType_CLIENT_REQUEST, "a", "b"), tag("k", "\x00\xff"))
	s.Insert(t, time.Now(), full, newSpan(1, 2, 1), newSpan(1, 1, 0), newSpan(2, 9, 0))
	spans, more, err := s.Read(t.Context(), traceID(1), 10)
	if err != nil || more || ids(spans) != "1 2 3" || string(spans[2].Annotations[1].Value) != "\x00\xff" || spans[2].Destination.Name != "b" {
		t.Fatalf("%v, %v, %v", spans, more, err)
	}
	if spans, more, err = s.Read(t.Context(), traceID(1), 2); err != nil || !more || ids(spans) != "1 2" {
		t.Fatalf("limited: %v, %v, %v", spans, more, err)
	}
	if err := s.Delete(t.Context(), traceID(1)); err != nil {
		t.Fatal(err)
	}
	if spans, _, err = s.Read(t.Context(), traceID(1), 10); err != nil || len(spans) != 0 {
		t.Fatalf("deleted: %v, %v", spans, err)
	}
	if spans, _, _ = s.Search(t.Context(), &pb.SearchRequest{Tags: map[string]string{"k": ""}, Limit: 10}); len(spans) != 0 { // an error shows below
		t.Fatal("the tags were not deleted")
	}
	big := func(s *pb.Span) {
		for range 128 {
			tag("k", strings.Repeat("v", 1024))(s)
		}
	}
	for n := range 80 { // 10 MB
		s.Insert(t, time.Now(), newSpan(3, n+1, 0, big))
	}
	if spans, more, err = s.Read(t.Context(), traceID(3), 1000); err != nil || !more || len(spans) < 15 || len(spans) > 79 {
		t.Fatalf("of 10 MB: %d spans, %v, %v", len(spans), more, err)
	}
}

func storeSearch(t *testing.T, s tracesrv.Store) {
	s.Insert(t, time.Now(),
		newSpan(1, 1, 0, took(100, 1000), named("Shop.Buy"), side(pb.AnnotationType_SERVER_REQUEST, "web", "shop")),
		newSpan(1, 2, 1, took(200, 500), named("Stock.Take"), side(pb.AnnotationType_CLIENT_REQUEST, "shop", "stock"), tag("item", "tea")),
		newSpan(1, 3, 2, took(300, 100), named("Stock.Take"), side(pb.AnnotationType_SERVER_REQUEST, "shop", "stock"), tag("item", "tea"), tag("error", "sold out")),
		newSpan(2, 4, 0, took(400, 50), named("50%_off"), side(pb.AnnotationType_SERVER_REQUEST, "web", "shop"), tag("item", "cup")),
		newSpan(2, 5, 4, took(500, 10), named("a' OR '1'='1"), tag("item", strings.Repeat("x", 500)), tag("item ", "space")),
	)
	for _, c := range []struct {
		name string
		req  *pb.SearchRequest
		want string
	}{
		{"all", &pb.SearchRequest{}, "1 2 3 4 5"},
		{"reverse", &pb.SearchRequest{Reverse: true}, "5 4 3 2 1"},
		{"page", &pb.SearchRequest{Limit: 2, Offset: 1}, "2 3"},
		{"name", &pb.SearchRequest{Name: "Stock.Take"}, "2 3"},
		{"name is no pattern", &pb.SearchRequest{Name: "%"}, ""},
		{"name with %_", &pb.SearchRequest{Name: "50%_off"}, "4"},
		{"name with quotes", &pb.SearchRequest{Name: "a' OR '1'='1"}, "5"},
		{"name has a case", &pb.SearchRequest{Name: "stock.take"}, ""},
		{"service", &pb.SearchRequest{Service: "shop"}, "1 2 4"},
		{"min", &pb.SearchRequest{MinDuration: 100}, "1 2 3"},
		{"max", &pb.SearchRequest{MaxDuration: 100}, "3 4 5"},
		{"between", &pb.SearchRequest{MinDuration: 100, MaxDuration: 500}, "2 3"},
		{"error", &pb.SearchRequest{Error: true}, "3"},
		{"time", &pb.SearchRequest{From: 200, To: 400}, "2 3"},
		{"tag", &pb.SearchRequest{Tags: map[string]string{"item": "tea"}}, "2 3"},
		{"any value", &pb.SearchRequest{Tags: map[string]string{"item": ""}}, "2 3 4 5"},
		{"tags", &pb.SearchRequest{Tags: map[string]string{"item": "tea", "error": "sold out"}}, "3"},
		{"long value", &pb.SearchRequest{Tags: map[string]string{"item": strings.Repeat("x", 500)}}, "5"},
		{"key with space", &pb.SearchRequest{Tags: map[string]string{"item ": ""}}, "5"},
		{"everything", &pb.SearchRequest{Service: "stock", Name: "Stock.Take", Error: true, MinDuration: 1, From: 1, Tags: map[string]string{"item": "tea"}}, "3"},
		{"nothing", &pb.SearchRequest{Service: "nobody"}, ""},
	} {
		if c.req.Limit == 0 {
			c.req.Limit = 100
		}
		if got, _, err := s.Search(t.Context(), c.req); err != nil || ids(got) != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, ids(got), err, c.want)
		}
	}
}

func storeDependencies(t *testing.T, s tracesrv.Store) {
	client, server := pb.AnnotationType_CLIENT_REQUEST, pb.AnnotationType_SERVER_REQUEST
	for n := range 4 { // web → shop → stock, one in four failing in stock
		failing := func(s *pb.Span) {
			if n == 0 {
				tag("error", "x")(s)
			}
		}
		s.Insert(t, time.Now(),
			newSpan(10+n, 1, 0, side(client, "web", "shop")),
			newSpan(10+n, 2, 1, side(server, "web", "shop")),
			newSpan(10+n, 3, 2), // internal, of shop
			newSpan(10+n, 4, 3, side(client, "shop", "stock"), failing),
			newSpan(10+n, 5, 4, side(server, "shop", "stock"), failing))
	}
	s.Insert(t, time.Now(),
		newSpan(20, 1, 0, side(client, "shop", "mail"), tag("error", "down")), // nobody recorded mail's side
		newSpan(21, 1, 9, side(server, "phone", "web")),                       // nor phone's
		newSpan(22, 1, 0, side(pb.AnnotationType_CLIENT_PUBLICATION, "shop", "")),
		newSpan(22, 2, 1, side(pb.AnnotationType_SERVER_SUBSCRIPTION, "", "audit")),
		newSpan(23, 1, 0, side(client, "old", "shop"), took(1, 1)))
	deps, err := s.Dependencies(t.Context(), 1_000_000, 3_000_000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range deps {
		got = append(got, fmt.Sprintf("%s→%s %d/%d %.1f/s %.2f", d.Parent, d.Child, d.Errors, d.Calls, d.CallsPerSecond, d.ErrorRate))
	}
	want := "shop→stock 1/4 2.0/s 0.25, web→shop 0/4 2.0/s 0.00, phone→web 0/1 0.5/s 0.00, shop→audit 0/1 0.5/s 0.00, shop→mail 1/1 0.5/s 1.00"
	if strings.Join(got, ", ") != want {
		t.Errorf("got\n%s, want\n%s", strings.Join(got, ", "), want)
	}
}

func storeExpire(t *testing.T, s tracesrv.Store) {
	now := time.Now()
	for n := range 3 {
		var spans []*pb.Span
		for i := range 1200 { // more than one chunk
			spans = append(spans, newSpan(n+1, i+1, 0, tag("k", "v")))
		}
		s.Insert(t, now.Add(time.Duration(n-3)*time.Hour), spans...)
	}
	expire := func(before time.Time, most, want int64) {
		t.Helper()
		if n, err := s.Expire(t.Context(), before, most); err != nil || n != want {
			t.Errorf("removed %d, %v, want %d", n, err, want)
		}
	}
	expire(now.Add(-4*time.Hour), 1e6, 0)
	expire(now.Add(-90*time.Minute), 1e6, 2400)
	if spans, _, _ := s.Read(t.Context(), traceID(3), 10); len(spans) == 0 { // an error shows below
		t.Error("removed what is young enough")
	}
	s.Insert(t, now, newSpan(4, 1, 0))
	expire(now.Add(-4*time.Hour), 1, 1200)
	if spans, _, _ := s.Read(t.Context(), traceID(4), 10); len(spans) != 1 { // an error shows below
		t.Error("removed the latest")
	}
	expire(now.Add(time.Hour), 1, 1)
}

func storeConcurrent(t *testing.T, s tracesrv.Store) {
	done := make(chan struct{})
	for n := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 25 {
				s.Insert(t, time.Now(), newSpan(1, n*100+i+1, 0, tag("k", "v")), newSpan(1, 5000+i, 0))
				if _, _, err := s.Search(t.Context(), &pb.SearchRequest{Limit: 5}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
	if spans, _, err := s.Read(t.Context(), traceID(1), 1000); err != nil || len(spans) != 125 {
		t.Errorf("%d spans, %v, want 125", len(spans), err)
	}
}
