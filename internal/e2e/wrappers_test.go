// Package e2e tests what no feature can show alone: all wrappers together, on
// both stacks, over real sockets.
package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/log"
	logrecorder "github.com/micro/go-platform/log/recorder"
	"github.com/micro/go-platform/metrics"
	metricsrecorder "github.com/micro/go-platform/metrics/recorder"
	"github.com/micro/go-platform/monitor"
	monitorrecorder "github.com/micro/go-platform/monitor/recorder"
	"github.com/micro/go-platform/trace"
	tracerecorder "github.com/micro/go-platform/trace/recorder"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

// wired is one service with the recorder plugin of each feature.
type wired struct {
	log     log.Log
	events  *logrecorder.Output
	metrics *metricsrecorder.Metrics
	trace   *tracerecorder.Recorder
	monitor *monitorrecorder.Recorder
	self    *registry.Service
}

func wire(t *testing.T, name string) *wired {
	t.Helper()
	w := &wired{
		events:  logrecorder.NewOutput(),
		metrics: metricsrecorder.NewMetrics(),
		trace:   tracerecorder.NewTrace(),
		monitor: monitorrecorder.NewMonitor(monitor.Interval(100 * time.Millisecond)),
		self:    &registry.Service{Name: name},
	}
	w.log = log.NewLog(log.WithOutput(w.events), log.WithLevel(log.DebugLevel))
	for _, start := range []func() error{w.log.Start, w.metrics.Start, w.trace.Start, w.monitor.Start} {
		if err := start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, stop := range []func() error{w.monitor.Stop, w.trace.Stop, w.metrics.Stop, w.log.Stop} {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func (w *wired) client() []client.Wrapper {
	return []client.Wrapper{
		log.ClientWrapper(w.log), metrics.ClientWrapper(w.metrics),
		trace.ClientWrapper(w.trace, w.self), monitor.ClientWrapper(w.monitor),
	}
}

func (w *wired) handler() []server.HandlerWrapper {
	return []server.HandlerWrapper{
		trace.HandlerWrapper(w.trace, w.self), metrics.HandlerWrapper(w.metrics),
		monitor.HandlerWrapper(w.monitor), log.HandlerWrapper(w.log),
	}
}

func (w *wired) subscriber() []server.SubscriberWrapper {
	return []server.SubscriberWrapper{
		trace.SubscriberWrapper(w.trace, w.self), metrics.SubscriberWrapper(w.metrics),
		monitor.SubscriberWrapper(w.monitor), log.SubscriberWrapper(w.log),
	}
}

// orders are all permutations of the four features.
func orders() [][]int {
	var all [][]int
	var permute func(done, left []int)
	permute = func(done, left []int) {
		if len(left) == 0 {
			all = append(all, append([]int(nil), done...))
		}
		for i, n := range left {
			rest := append(append([]int(nil), left[:i]...), left[i+1:]...)
			permute(append(done, n), rest)
		}
	}
	permute(nil, []int{0, 1, 2, 3})
	return all
}

func in[T any](order []int, all []T) []T {
	var out []T
	for _, i := range order {
		out = append(out, all[i])
	}
	return out
}

func TestEveryOrderOfWrappersOnBothStacks(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		for _, order := range orders() {
			t.Run(fmt.Sprint(order), func(t *testing.T) {
				rpctest.Whole(t, func() bool { return useWrappers(t, stack, order) })
			})
		}
	})
}

// useWrappers returns false when the rpc stack lost a call: what was counted
// then says nothing about the wrappers.
func useWrappers(t *testing.T, stack string, order []int) (whole bool) {
	net, front, back := rpctest.New(t), wire(t, "front"), wire(t, "back")
	var opts []server.Option
	for _, w := range in(order, back.handler()) {
		opts = append(opts, server.WrapHandler(w))
	}
	for _, w := range in(order, back.subscriber()) {
		opts = append(opts, server.WrapSubscriber(w))
	}
	handler := net.Serve(stack, "back", opts...)
	c := net.Client(stack, in(order, front.client())...)
	svc := echo.NewEchoService("back", c)
	// The spellings are what other peers and transports make of keys.
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"X-Request-Id": "42", "tenant": "acme"})

	rsp, err := svc.Call(ctx, &echo.Request{Text: "hi"})
	if rpctest.Lost(stack, err) {
		return false
	}
	if err != nil || rsp.Text != "hi" {
		t.Fatalf("call: %v, %v", rsp, err)
	}
	wantMetadata(t, "call", rsp.Metadata)
	if _, err = svc.Call(ctx, &echo.Request{Fail: 409}); rpctest.Lost(stack, err) {
		return false
	}
	if call.Code(err) != 409 {
		t.Fatalf("failing call: %v", err)
	}
	if err := rpctest.Converse(ctx, svc, 2, &echo.Request{End: true}); err != nil {
		t.Fatalf("stream: %v", err)
	}
	if err := rpctest.Converse(ctx, svc, 1, &echo.Request{Fail: 500}); err == nil {
		t.Fatal("failing stream: no error")
	}
	if err := c.Publish(ctx, c.NewMessage(rpctest.Topic, &echo.Event{Text: "e"})); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "the event arrives", func() bool { return len(handler.Events()) == 1 })
	wantMetadata(t, "event", handler.Events()[0].Metadata)

	rpctest.Eventually(t, "five spans on each side", func() bool {
		return len(front.trace.Spans()) == 5 && len(back.trace.Spans()) == 5
	})
	wantTraces(t, front.trace.Spans(), back.trace.Spans())
	wantCounts(t, front, back)
	wantLogs(t, front, "client")
	wantLogs(t, back, "handler")
	return true
}

func wantMetadata(t *testing.T, what string, got map[string]string) {
	t.Helper()
	parents := 0
	values := map[string]string{}
	for k, v := range got {
		values[strings.ToLower(k)] = v
		if strings.EqualFold(k, "traceparent") {
			parents++
		}
	}
	if values["x-request-id"] != "42" || values["tenant"] != "acme" || parents != 1 {
		t.Errorf("%s: metadata was wiped or doubled: %v", what, got)
	}
}

// wantTraces pairs each span of the server with the client's that caused it.
func wantTraces(t *testing.T, front, back []*trace.Span) {
	t.Helper()
	byID := map[string]*trace.Span{}
	for _, s := range front {
		byID[s.Id] = s
	}
	for _, s := range back {
		parent := byID[s.ParentId]
		if parent == nil || parent.TraceId != s.TraceId || parent.Name != s.Name {
			t.Errorf("server span %s of trace %s has no client span", s.Name, s.TraceId)
		}
		delete(byID, s.ParentId)
	}
}

func wantCounts(t *testing.T, front, back *wired) {
	t.Helper()
	rpctest.Eventually(t, "all calls are counted", func() bool {
		return total(front.metrics, "client.calls") == 4 && total(back.metrics, "server.calls") == 4 &&
			total(front.metrics, "publisher.calls") == 1 && total(back.metrics, "subscriber.calls") == 1
	})
	if e, f := total(front.metrics, "client.errors"), total(back.metrics, "server.errors"); e != 2 || f != 2 {
		t.Errorf("%d errors at the client, %d at the server, want 2 and 2", e, f)
	}
	for name, w := range map[string]*wired{"front": front, "back": back} {
		rpctest.Eventually(t, name+" reports five calls, two of them failed", func() bool {
			var success, failed int64
			for _, e := range w.monitor.Endpoints() {
				success += e.Success.Count
				failed += e.Errors.Count + e.Dropped.Count
			}
			return success == 3 && failed == 2
		})
	}
}

func total(m *metricsrecorder.Metrics, id string) (sum int64) {
	m.Each(func(_ metrics.Kind, series string, f metrics.Fields) {
		if series == id {
			sum += m.CounterValue(id, f)
		}
	})
	return sum
}

func wantLogs(t *testing.T, w *wired, side string) {
	t.Helper()
	failed := 0
	for _, e := range w.events.Events() {
		if e.Level == log.ErrorLevel {
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("%s: %d failures in the log, want 2", side, failed)
	}
}
