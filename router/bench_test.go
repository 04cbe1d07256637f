package router_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/router"
)

// newBench returns a started router with so many nodes of a service.
func newBench(tb testing.TB, nodes int, opts ...selector.Option) router.Router {
	tb.Helper()
	reg := memreg.New()
	s := &registry.Service{Name: "shop.stock", Version: "v1"}
	for i := range nodes {
		s.Nodes = append(s.Nodes, &registry.Node{Id: fmt.Sprintf("shop.stock-0b6fbeb1-5c37-4b9a-8a54-%04d", i), Address: fmt.Sprintf("10.0.0.1:%d", i)})
	}
	if err := reg.Register(s); err != nil {
		tb.Fatal(err)
	}
	r := router.NewRouter(append([]selector.Option{selector.Registry(reg), router.Standalone()}, opts...)...)
	tb.Cleanup(func() { _ = r.Stop() }) // nothing is sent anywhere
	if _, err := r.Select("shop.stock"); err != nil {
		tb.Fatal(err)
	}
	return r
}

func BenchmarkSelect(b *testing.B) {
	for _, balance := range []router.Balance{router.PeakEWMA, router.LeastConnections, router.RoundRobin, router.Random} {
		for _, nodes := range []int{3, 100, 1000} {
			b.Run(fmt.Sprintf("%s-%d", balance, nodes), func(b *testing.B) {
				r := newBench(b, nodes, router.Strategy(balance))
				router.CallWrapper(r) // durations come from there
				b.ReportAllocs()
				for b.Loop() {
					next, err := r.Select("shop.stock")
					if err != nil {
						b.Fatal(err)
					}
					if _, err := next(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkMark(b *testing.B) {
	r := newBench(b, 100)
	router.CallWrapper(r)
	next, _ := r.Select("shop.stock") // what it costs is looked at
	node, _ := next()                 // what it costs is looked at
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Mark("shop.stock", node, nil)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r.Mark("shop.stock", node, nil)
			}
		})
	})
}

type benchRequest struct{ client.Request }

func (benchRequest) Service() string  { return "shop.stock" }
func (benchRequest) Method() string   { return "Stock.Get" }
func (benchRequest) Endpoint() string { return "Stock.Get" }
func (benchRequest) Stream() bool     { return false }

func BenchmarkRecord(b *testing.B) {
	r := newBench(b, 100)
	next, _ := r.Select("shop.stock") // what it costs is looked at
	node, _ := next()                 // what it costs is looked at
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Record(benchRequest{}, node, 3*time.Millisecond, nil)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r.Record(benchRequest{}, node, 3*time.Millisecond, nil)
			}
		})
	})
}

// goMicro is what go-micro's clients do around a call, without the call.
type goMicro struct {
	client.Client
	selector selector.Selector
}

func (*goMicro) String() string { return "mucp" }

func (c *goMicro) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	var o client.CallOptions
	for _, opt := range opts {
		opt(&o)
	}
	next, err := c.selector.Select(req.Service(), o.SelectOptions...)
	if err != nil {
		return err
	}
	call := client.CallFunc(func(context.Context, *registry.Node, client.Request, any, client.CallOptions) error { return nil })
	for i := len(o.CallWrappers); i > 0; i-- {
		call = o.CallWrappers[i-1](call)
	}
	node, err := next()
	if err != nil {
		return err
	}
	err = call(ctx, node, req, rsp, o)
	c.selector.Mark(req.Service(), node, err)
	return err
}

func BenchmarkCallPath(b *testing.B) {
	first := func(s []*registry.Service) selector.Next {
		n := s[0].Nodes[0]
		return func() (*registry.Node, error) { return n, nil }
	}
	half := func(s []*registry.Service) []*registry.Service {
		kept := *s[0]
		kept.Nodes = kept.Nodes[:len(kept.Nodes)/2]
		return []*registry.Service{&kept}
	}
	for _, c := range []struct {
		name string
		opts []selector.Option
		call []client.CallOption
	}{
		{"plain", nil, nil},
		{"option", nil, []client.CallOption{client.WithDialTimeout(time.Second)}},
		{"rate", []selector.Option{router.ClientRate("", 1e9, 1e9)}, nil},
		{"concurrency", []selector.Option{router.ClientConcurrency(1000)}, nil},
		{"strategy", []selector.Option{selector.SetStrategy(first)}, nil},
		{"filter", nil, []client.CallOption{client.WithSelectOption(selector.WithFilter(half))}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newBench(b, 100, c.opts...)
			cl := router.ClientWrapper(r)(&goMicro{selector: r})
			ctx, req := context.Background(), client.Request(benchRequest{})
			b.ReportAllocs()
			for b.Loop() {
				if err := cl.Call(ctx, req, nil, c.call...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type benchServerRequest struct{ server.Request }

func (benchServerRequest) Stream() bool { return false }

func BenchmarkHandlerWrapper(b *testing.B) {
	for name, opts := range map[string][]selector.Option{
		"none": nil, "rate": {router.ServerRate(1e9, 1e9)}, "concurrency": {router.ServerConcurrency(1000)},
	} {
		b.Run(name, func(b *testing.B) {
			h := router.HandlerWrapper(newBench(b, 1, opts...))(func(context.Context, server.Request, any) error { return nil })
			ctx, req := context.Background(), server.Request(benchServerRequest{})
			b.ReportAllocs()
			for b.Loop() {
				if err := h(ctx, req, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCostsAreBounded(t *testing.T) {
	for _, nodes := range []int{3, 1000} {
		r := newBench(t, nodes)
		cl := router.ClientWrapper(r)(&goMicro{selector: r})
		if n := testing.AllocsPerRun(100, func() {
			next, _ := r.Select("shop.stock") // what it costs is looked at
			node, _ := next()                 // what it costs is looked at
			r.Mark("shop.stock", node, nil)
		}); n > 2 {
			t.Errorf("%d nodes: Select, Next, Mark: %v allocations", nodes, n)
		}
		req := client.Request(benchRequest{})
		if n := testing.AllocsPerRun(100, func() { _ = cl.Call(t.Context(), req, nil) }); n > 4 { // what it costs is looked at
			t.Errorf("%d nodes: Call: %v allocations", nodes, n)
		}
	}
}
