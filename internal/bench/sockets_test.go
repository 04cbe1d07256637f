package bench_test

import (
	"slices"
	"testing"
	"time"

	"go-micro.dev/v5/client"
	"go-micro.dev/v5/server"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// BenchmarkSockets is BenchmarkStack over real grpc sockets: the median of a
// call without wrappers, with ours and with the usual ones, taken in turns so
// that all three see the same machine.
func BenchmarkSockets(b *testing.B) {
	stacks := []struct {
		name string
		wrap func(client.Client, func(server.HandlerWrapper)) (client.Client, func())
	}{
		{"none", func(c client.Client, _ func(server.HandlerWrapper)) (client.Client, func()) { return c, func() {} }},
		{"ours", func(c client.Client, handler func(server.HandlerWrapper)) (client.Client, func()) {
			clients, handlers, stop := ourWrappers(b)
			for _, w := range handlers {
				handler(w)
			}
			for _, w := range clients {
				c = w(c)
			}
			return c, stop
		}},
		{"usual", func(c client.Client, handler func(server.HandlerWrapper)) (client.Client, func()) {
			u, stop := newUsual()
			handler(u.handler)
			return u.client(c), stop
		}},
	}
	net := rpctest.New(b)
	var calls []func() error
	for _, s := range stacks {
		var opts []server.Option
		c, stop := s.wrap(net.Client(rpctest.GRPC), func(w server.HandlerWrapper) { opts = append(opts, server.WrapHandler(w)) })
		defer stop()
		net.Serve(rpctest.GRPC, s.name, opts...)
		svc, ctx := echo.NewEchoService(s.name, c), incoming()
		calls = append(calls, func() error {
			_, err := svc.Call(ctx, &echo.Request{Text: "hi"})
			return err
		})
	}
	took := make([][]time.Duration, len(stacks))
	for b.Loop() {
		for i, call := range calls {
			begin := time.Now()
			if err := call(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return float64(took[i][len(took[i])/2].Nanoseconds()) / 1000
	}
	b.ReportMetric(median(0), "µs-none")
	b.ReportMetric(median(1)-median(0), "µs-ours-adds")
	b.ReportMetric(median(2)-median(0), "µs-usual-adds")
	b.ReportMetric(0, "ns/op")
}
