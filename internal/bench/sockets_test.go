package bench

import (
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// BenchmarkSockets is BenchmarkStack over real grpc sockets: the median of a
// call without wrappers, with ours and with the usual ones, in turns so that all
// three see the same machine. A turn is many calls, as a service makes them: the
// first after another stack finds the caches of the processor cold.
func BenchmarkSockets(b *testing.B) {
	const turn = 100
	net := rpctest.New(b)
	var calls []func() error
	serve := func(name string, c client.Client, handlers ...server.HandlerWrapper) {
		var opts []server.Option
		for _, w := range handlers {
			opts = append(opts, server.WrapHandler(w))
		}
		net.Serve(rpctest.GRPC, name, opts...)
		svc, ctx := echo.NewEchoService(name, c), incoming()
		calls = append(calls, func() error {
			_, err := svc.Call(ctx, &echo.Request{Text: "hi"})
			return err
		})
	}
	plain := func() client.Client { // without the router, go-micro's own selector chooses
		sel := selector.NewSelector(selector.Registry(net.Registry))
		b.Cleanup(func() { _ = sel.Close() }) // it never fails
		return net.ClientOf(rpctest.GRPC, sel)
	}
	serve("none", plain())
	clients, handlers, r := ourWrappers(b, net.Registry)
	ours := net.ClientOf(rpctest.GRPC, r)
	for _, w := range clients {
		ours = w(ours)
	}
	slices.Reverse(handlers)                // go-micro takes the outermost first
	serve(calledService, ours, handlers...) // whom its tokens are for
	usual := newUsual(b)
	serve("usual", usual.client(plain()), usual.handler)

	took := make([][]time.Duration, len(calls))
	for b.Loop() {
		for i, call := range calls {
			for range turn {
				begin := time.Now()
				if err := call(); err != nil {
					b.Fatal(err)
				}
				took[i] = append(took[i], time.Since(begin))
			}
		}
	}
	none := median(took[0])
	b.ReportMetric(micros(none), "µs-none")
	b.ReportMetric(micros(median(took[1])-none), "µs-ours-adds")
	b.ReportMetric(micros(median(took[2])-none), "µs-usual-adds")
	b.ReportMetric(0, "ns/op")
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
