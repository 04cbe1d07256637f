package monitor_test

import (
	"context"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/discard"
)

type noopClient struct{ client.Client }

func (noopClient) Call(context.Context, client.Request, any, ...client.CallOption) error { return nil }
func (noopClient) Publish(context.Context, client.Message, ...client.PublishOption) error {
	return nil
}

type message struct{ server.Message }

func (message) Topic() string { return "t" }

// quiet is a monitor that reports to nobody and is stopped when the test ends.
func quiet(tb testing.TB) monitor.Monitor {
	m := discard.NewMonitor(monitor.Server(idle("shop")))
	tb.Cleanup(func() { _ = m.Stop() }) // it has nothing to lose
	return m
}

func BenchmarkRecordStat(b *testing.B) {
	m := quiet(b)
	r := &request{"stock", "Stock.Get"}
	b.ReportAllocs()
	for b.Loop() {
		m.RecordStat(r, 3*time.Millisecond, nil)
	}
}

func BenchmarkRecordStatParallel(b *testing.B) {
	m := quiet(b)
	r := &request{"stock", "Stock.Get"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.RecordStat(r, 3*time.Millisecond, nil)
		}
	})
}

func BenchmarkClientWrapper(b *testing.B) {
	plain := client.NewClient()
	c := monitor.ClientWrapper(quiet(b))(noopClient{plain})
	req := plain.NewRequest("stock", "Stock.Get", nil)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Call(ctx, req, nil) // what it costs is looked at
	}
}

func BenchmarkClientWrapperPublish(b *testing.B) {
	plain := client.NewClient()
	c := monitor.ClientWrapper(quiet(b))(noopClient{plain})
	msg := plain.NewMessage("t", nil)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Publish(ctx, msg) // what it costs is looked at
	}
}

func BenchmarkHandlerWrapper(b *testing.B) {
	h := monitor.HandlerWrapper(quiet(b))(
		func(context.Context, server.Request, any) error { return nil })
	ctx, req := context.Background(), server.Request(claims{})
	b.ReportAllocs()
	for b.Loop() {
		_ = h(ctx, req, nil) // what it costs is looked at
	}
}

func BenchmarkSubscriberWrapper(b *testing.B) {
	h := monitor.SubscriberWrapper(quiet(b))(
		func(context.Context, server.Message) error { return nil })
	ctx, msg := context.Background(), server.Message(message{})
	b.ReportAllocs()
	for b.Loop() {
		_ = h(ctx, msg) // what it costs is looked at
	}
}

func BenchmarkReadyFilter(b *testing.B) {
	nodes := []*registry.Node{{Id: "a"}, {Id: "b"}, {Id: "c"}, {Id: "d"}}
	services := []*registry.Service{{Name: "s", Nodes: nodes}}
	for name, bad := range map[string]map[string]bool{"all ready": {}, "one not": {"a": true}} {
		b.Run(name, func(b *testing.B) {
			var o selector.SelectOptions
			monitor.ReadyFilter(fixed{bad: bad})(&o)
			b.ReportAllocs()
			for b.Loop() {
				o.Filters[0](services)
			}
		})
	}
}

func TestCostsAreBounded(t *testing.T) {
	m := quiet(t)
	r := &request{"stock", "Stock.Get"}
	if n := testing.AllocsPerRun(100, func() { m.RecordStat(r, time.Millisecond, nil) }); n != 0 {
		t.Errorf("RecordStat: %v allocations", n)
	}
	plain := client.NewClient()
	c := monitor.ClientWrapper(m)(noopClient{plain})
	req, msg := plain.NewRequest("stock", "Stock.Get", nil), plain.NewMessage("t", nil)
	h := monitor.HandlerWrapper(m)(func(context.Context, server.Request, any) error { return nil })
	s := monitor.SubscriberWrapper(m)(func(context.Context, server.Message) error { return nil })
	in, event := server.Request(claims{}), server.Message(message{})
	ctx := context.Background()
	for name, f := range map[string]func(){
		"Call": func() { _ = c.Call(ctx, req, nil) }, "Publish": func() { _ = c.Publish(ctx, msg) }, // what it costs is looked at
		"handler": func() { _ = h(ctx, in, nil) }, "subscriber": func() { _ = s(ctx, event) }, // what it costs is looked at
	} {
		if n := testing.AllocsPerRun(100, f); n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
