package srv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	tracesrv "github.com/micro/go-platform/trace/internal/srv"
	pb "github.com/micro/go-platform/trace/proto"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func boot(t *testing.T) (*rpctest.Net, pb.TraceService) {
	net := rpctest.New(t)
	net.Boot(tracesrv.Service())
	return net, pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
}

func TestBadRequestsAreNamed(t *testing.T) {
	_, svc := boot(t)
	ctx := t.Context()
	with := func(c change) *pb.Span { return newSpan(1, 1, 0, c) }
	for _, c := range []struct {
		span *pb.Span
		want string
	}{
		{nil, "span: missing"},
		{with(func(s *pb.Span) { s.TraceId = "x" }), "span.trace_id"},
		{with(func(s *pb.Span) { s.TraceId = strings.Repeat("0", 32) }), "span.trace_id"},
		{with(func(s *pb.Span) { s.Id = "" }), "span.id"},
		{with(func(s *pb.Span) { s.ParentId = "'; DROP TABLE spans" }), "span.parent_id"},
		{with(named(strings.Repeat("x", 300))), "span.name"},
		{with(func(s *pb.Span) { s.Timestamp = 0 }), "span.timestamp"},
		{with(func(s *pb.Span) { s.Timestamp = 1 << 62 }), "span.timestamp"},
		{with(func(s *pb.Span) { s.Duration = -1 }), "span.duration"},
		{with(func(s *pb.Span) { s.Duration = 1 << 62 }), "span.duration"},
		{with(func(s *pb.Span) { s.Source = &pb.Service{Name: strings.Repeat("x", 300)} }), "span.source"},
		{with(func(s *pb.Span) { s.Annotations = make([]*pb.Annotation, 200) }), "span.annotations"},
		{with(tag(strings.Repeat("k", 200), "")), "span.annotations.key"},
		{with(tag("k", strings.Repeat("v", 2000))), "span.annotations.value"},
		{with(func(s *pb.Span) { s.Annotations = []*pb.Annotation{{Type: 77}} }), "span.annotations.type"},
		{with(func(s *pb.Span) { s.Source = &pb.Service{Version: strings.Repeat("x", 300<<10)} }), "span: larger than"},
	} {
		_, err := svc.Create(ctx, &pb.CreateRequest{Span: c.span})
		if call.Code(err) != 400 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %.200v, want 400 with %q", err, c.want)
		}
	}
	if _, err := svc.Create(ctx, &pb.CreateRequest{Spans: make([]*pb.Span, 1001)}); call.Code(err) != 400 {
		t.Errorf("1001 spans: %v", err)
	}
	for _, req := range []*pb.SearchRequest{
		{Limit: -1}, {Limit: 1001}, {Offset: -1}, {Offset: 1 << 40}, {MinDuration: -1}, {From: -1}, {Name: strings.Repeat("x", 300)},
		{Tags: map[string]string{"": "x"}},
	} {
		if _, err := svc.Search(ctx, req); call.Code(err) != 400 {
			t.Errorf("%v: %v", req, err)
		}
	}
	if _, err := svc.Read(ctx, &pb.ReadRequest{Id: "x"}); call.Code(err) != 400 {
		t.Errorf("read: %v", err)
	}
	if _, err := svc.Read(ctx, &pb.ReadRequest{Id: traceID(9)}); call.Code(err) != 404 {
		t.Errorf("read of nothing: %v", err)
	}
	if _, err := svc.Tree(ctx, &pb.TreeRequest{Id: traceID(9), Limit: -1}); call.Code(err) != 400 {
		t.Errorf("tree: %v", err)
	}
	if _, err := svc.Dependencies(ctx, &pb.DependenciesRequest{From: 5, To: 4}); call.Code(err) != 400 {
		t.Errorf("dependencies: %v", err)
	}
	if rsp, err := svc.Search(ctx, &pb.SearchRequest{}); err != nil || len(rsp.Spans) != 0 {
		t.Errorf("bad requests left %v, %v", rsp, err)
	}
}

// A default client takes 4 MiB, and is told that there is more.
func TestAnswersFitADefaultClient(t *testing.T) {
	_, svc := boot(t)
	for i := range 40 {
		large := newSpan(7, i+1, i, func(s *pb.Span) { s.Source = &pb.Service{Name: "shop", Version: strings.Repeat("x", 200<<10)} })
		if _, err := svc.Create(t.Context(), &pb.CreateRequest{Span: large}); err != nil {
			t.Fatal(err)
		}
	}
	read, err := svc.Read(t.Context(), &pb.ReadRequest{Id: traceID(7)})
	if err != nil || !read.Truncated || len(read.Spans) < 10 {
		t.Errorf("read: %d spans, %v, %v", len(read.GetSpans()), read.GetTruncated(), err)
	}
	search, err := svc.Search(t.Context(), &pb.SearchRequest{Limit: 100})
	if err != nil || !search.Truncated || len(search.Spans) < 10 {
		t.Errorf("search: %d spans, %v, %v", len(search.GetSpans()), search.GetTruncated(), err)
	}
	tree, err := svc.Tree(t.Context(), &pb.TreeRequest{Id: traceID(7)})
	if err != nil || !tree.Truncated || len(tree.Nodes) < 10 {
		t.Errorf("tree: %d nodes, %v, %v", len(tree.GetNodes()), tree.GetTruncated(), err)
	}
}

func TestBatchesKeepWhatIsGood(t *testing.T) {
	_, svc := boot(t)
	ctx := t.Context()
	rsp, err := svc.Create(ctx, &pb.CreateRequest{Span: newSpan(1, 1, 0), Spans: []*pb.Span{newSpan(1, 2, 1), newSpan(1, 3, 1, took(5, -5)), {}}})
	if err != nil || rsp.Rejected != 2 || !strings.Contains(rsp.Reason, "span.duration") {
		t.Fatalf("%v, %v", rsp, err)
	}
	read, err := svc.Read(ctx, &pb.ReadRequest{Id: strings.ToUpper(traceID(1))})
	if err != nil || ids(read.Spans) != "1 2" {
		t.Fatalf("%v, %v", read, err)
	}
	tree, err := svc.Tree(ctx, &pb.TreeRequest{Id: traceID(1)})
	if err != nil || show(tree.Nodes) != "1, .2" {
		t.Fatalf("%v, %v", tree, err)
	}
	deps, err := svc.Dependencies(ctx, &pb.DependenciesRequest{})
	if err != nil || len(deps.Dependencies) != 0 {
		t.Fatalf("%v, %v", deps, err)
	}
	if _, err := svc.Delete(ctx, &pb.DeleteRequest{Id: traceID(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Read(ctx, &pb.ReadRequest{Id: traceID(1)}); call.Code(err) != 404 {
		t.Fatalf("deleted: %v", err)
	}
}

func TestOldIDsAreTaken(t *testing.T) {
	_, svc := boot(t)
	span := newSpan(1, 1, 0)
	span.TraceId, span.Id, span.ParentId = "0AF76519-16cd-43dd-8448-eb211c80319c", "b7ad6b71-6920-3331-8448-eb211c80319c", "0"
	if _, err := svc.Create(t.Context(), &pb.CreateRequest{Span: span}); err != nil {
		t.Fatal(err)
	}
	rsp, err := svc.Read(t.Context(), &pb.ReadRequest{Id: span.TraceId})
	if err != nil || rsp.Spans[0].TraceId != "0af7651916cd43dd8448eb211c80319c" || rsp.Spans[0].Id != "b7ad6b7169203331" || rsp.Spans[0].ParentId != "" {
		t.Fatalf("%v, %v", rsp, err)
	}
}

func TestTopic(t *testing.T) {
	net, svc := boot(t)
	c := net.Client(rpctest.GRPC)
	for _, s := range []*pb.Span{newSpan(1, 1, 0, took(5, -1)), {}, newSpan(1, 2, 0)} { // two forged ones first
		if err := c.Publish(t.Context(), c.NewMessage(trace.TraceTopic, s)); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "the span arrives", func() bool {
		rsp, err := svc.Search(t.Context(), &pb.SearchRequest{})
		return err == nil && ids(rsp.Spans) == "2"
	})
}

func TestRetentionRuns(t *testing.T) {
	net := rpctest.New(t)
	s := tracesrv.Service()
	for _, f := range s.Flags {
		if f.Names()[0] == "retention" {
			setDuration(t, f, time.Second)
		}
	}
	net.Boot(s)
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	if _, err := svc.Create(t.Context(), &pb.CreateRequest{Span: newSpan(1, 1, 0)}); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the span is removed", func() bool {
		_, err := svc.Read(t.Context(), &pb.ReadRequest{Id: traceID(1)})
		return call.Code(err) == 404
	})
}

func TestBadSettings(t *testing.T) {
	net := rpctest.New(t)
	s := tracesrv.Service()
	setDuration(t, s.Flags[0], 0)
	_, err := daemon.Start(context.Background(), s, daemon.Config{Registry: net.Registry, Broker: net.Broker, Insecure: true})
	if err == nil || !strings.Contains(err.Error(), "--retention") || errors.Is(err, daemon.ErrNoCredentials) {
		t.Fatalf("got %v", err)
	}
}

func setDuration(t *testing.T, f cli.Flag, d time.Duration) {
	t.Helper()
	df, ok := f.(*cli.DurationFlag)
	if !ok {
		t.Fatalf("%v is no duration", f.Names())
	}
	*df.Destination = d
}

func TestSpansOutliveTheService(t *testing.T) {
	net := rpctest.New(t)
	dir := t.TempDir()
	onDisk := func(c *daemon.Config) { c.DataDir = dir }
	running := net.Boot(tracesrv.Service(), onDisk)
	tr := trace.NewTrace(trace.Client(net.Client(rpctest.GRPC)), trace.Logger(net.Logger), trace.BatchInterval(20*time.Millisecond))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	svc := pb.NewTraceService(trace.ServiceName, net.Client(rpctest.GRPC))
	root := tr.NewSpan(nil)
	has := func(n int) func() bool {
		return func() bool {
			rsp, err := svc.Read(context.Background(), &pb.ReadRequest{Id: root.TraceId})
			return err == nil && len(rsp.Spans) == n
		}
	}
	collect := func() {
		t.Helper()
		if err := tr.Collect(tr.NewSpan(root)); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	rpctest.Eventually(t, "the first span arrives", has(1))
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 20 { // while it is away
		collect()
	}
	net.Boot(tracesrv.Service(), onDisk)
	// The clients forget the old address after ten seconds.
	flush := tr.(interface{ Flush(context.Context) error }).Flush
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for poll := time.NewTicker(50 * time.Millisecond); (flush(ctx) != nil || !has(21)()) && ctx.Err() == nil; <-poll.C {
	}
	if ctx.Err() != nil {
		t.Error("the other spans did not join it")
	}
	if err := tr.Stop(); err != nil || tr.Dropped() != 0 {
		t.Errorf("%v, %d dropped", err, tr.Dropped())
	}
}
