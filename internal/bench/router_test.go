package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/router"
)

func routerNodes(b testing.TB, service string, nodes int) *memreg.Registry {
	b.Helper()
	s := &registry.Service{Name: service, Version: "v1"}
	for i := range nodes {
		s.Nodes = append(s.Nodes, &registry.Node{Id: fmt.Sprintf("stock-0b6fbeb1-5c37-4b9a-8a54-%04d", i), Address: fmt.Sprintf("10.0.0.1:%d", i)})
	}
	reg := memreg.New()
	if err := reg.Register(s); err != nil {
		b.Fatal(err)
	}
	return reg
}

func newRouter(b *testing.B, nodes int) router.Router {
	r := router.NewRouter(selector.Registry(routerNodes(b, "stock", nodes)), router.Standalone())
	b.Cleanup(func() { _ = r.Stop() }) // nothing is sent anywhere
	if _, err := r.Select("stock"); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkRouterSelect is Select and Next beside go-micro's selector.
func BenchmarkRouterSelect(b *testing.B) {
	for _, nodes := range []int{3, 100, 1000} {
		ours := newRouter(b, nodes)
		router.CallWrapper(ours) // as with the wrappers: durations come from there
		theirs := selector.NewSelector(selector.Registry(routerNodes(b, "stock", nodes)))
		b.Cleanup(func() { _ = theirs.Close() }) // it never fails
		for _, c := range []struct {
			name string
			s    selector.Selector
		}{{"ours", ours}, {"go-micro", theirs}} {
			b.Run(fmt.Sprintf("%d/%s", nodes, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					next, err := c.s.Select("stock")
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

// BenchmarkRouterBreaker is what one outcome costs: ours is Mark, which finds
// the node among a hundred, beside breakers that are held.
func BenchmarkRouterBreaker(b *testing.B) {
	r := newRouter(b, 100)
	router.CallWrapper(r)
	next, err := r.Select("stock")
	if err != nil {
		b.Fatal(err)
	}
	node, err := next()
	if err != nil {
		b.Fatal(err)
	}
	sony := gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{})
	failsafe := circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).Build()
	for name, one := range map[string]func(){
		"ours":      func() { r.Mark("stock", node, nil) },
		"gobreaker": func() { done, _ := sony.Allow(); done(nil) },
		"failsafe":  func() { failsafe.TryAcquirePermit(); failsafe.RecordSuccess() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
		})
		b.Run(name+"-parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
}

// BenchmarkRouterRecord is a call's whole record: breaker, latency and the
// histograms of node and endpoint.
func BenchmarkRouterRecord(b *testing.B) {
	r := newRouter(b, 100)
	next, err := r.Select("stock")
	if err != nil {
		b.Fatal(err)
	}
	node, err := next()
	if err != nil {
		b.Fatal(err)
	}
	req := &monitorRequest{"stock", "Stock.Get"}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Record(req, node, 3*time.Millisecond, nil)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r.Record(req, node, 3*time.Millisecond, nil)
			}
		})
	})
}

// clientCore is what go-micro's clients do around a call: options, Select,
// Next, call wrappers, Mark.
type clientCore struct {
	client.Client
	selector selector.Selector
	call     client.CallFunc
}

func (c *clientCore) String() string { return "core" }

func (c *clientCore) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	var o client.CallOptions
	for _, opt := range opts {
		opt(&o)
	}
	next, err := c.selector.Select(req.Service(), o.SelectOptions...)
	if err != nil {
		return err
	}
	call := c.call
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

// fixedSelector costs nothing.
type fixedSelector struct {
	selector.Selector
	next selector.Next
}

func (s fixedSelector) Select(string, ...selector.SelectOption) (selector.Next, error) {
	return s.next, nil
}
func (fixedSelector) Mark(string, *registry.Node, error) {}

// BenchmarkRouterCall is the path of a call: nothing but go-micro's own steps,
// go-micro's selector, the router with its wrapper.
func BenchmarkRouterCall(b *testing.B) {
	req, ctx := client.NewRequest("stock", "Stock.Get", nil), context.Background()
	r := newRouter(b, 100)
	theirs := selector.NewSelector(selector.Registry(routerNodes(b, "stock", 100)))
	b.Cleanup(func() { _ = theirs.Close() }) // it never fails
	node := &registry.Node{}
	call := func(context.Context, *registry.Node, client.Request, any, client.CallOptions) error { return nil }
	for _, c := range []struct {
		name string
		c    client.Client
	}{
		{"none", &clientCore{selector: fixedSelector{next: func() (*registry.Node, error) { return node, nil }}, call: call}},
		{"ours", router.ClientWrapper(r)(&clientCore{selector: r, call: call})},
		{"go-micro", &clientCore{selector: theirs, call: call}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.c.Call(ctx, req, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
