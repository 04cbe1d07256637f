package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
)

// Consul is away for longer than the leases of living nodes, and back with its data:
// no call fails. In make faults with the intervals that people use.
func TestFaultConsulAwayForLongerThanALease(t *testing.T) {
	intervals := []time.Duration{time.Second}
	if rpctest.Long() {
		intervals = []time.Duration{10 * time.Second, 30 * time.Second}
	}
	for _, interval := range intervals {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			consulAway(t, interval)
		})
	}
}

func consulAway(t *testing.T, interval time.Duration) {
	const services = 4
	lease := discovery.TTLIntervals * interval
	srv := backend.Consul(t)
	net := rpctest.New(t)
	of := func() discovery.Discovery {
		d := discovery.NewDiscovery(discovery.Registry(consul.NewConsulRegistry(registry.Addrs(srv.Addr))),
			discovery.EnableDiscovery(false), discovery.Interval(interval), discovery.Logger(net.Logger))
		t.Cleanup(func() { _ = d.Stop() }) // Consul may be gone
		return d
	}
	for range services {
		s := net.Server(rpctest.GRPC, "shop", server.Registry(of()), server.RegisterTTL(lease), server.RegisterInterval(interval))
		if err := echo.RegisterEchoHandler(s, new(rpctest.Echo)); err != nil {
			t.Fatal(err)
		}
		net.Start(s)
	}
	reader := of()
	r := router.NewRouter(selector.Registry(reader), router.Standalone(), router.Logger(net.Logger), router.Server(net.Server(rpctest.GRPC, "caller")))
	t.Cleanup(func() { _ = r.Stop() }) // it has nobody to report to
	c := rpc.NewClient(rpc.Config{Registry: reader, Broker: net.Broker, Selector: r, Wrappers: []client.Wrapper{router.ClientWrapper(r)}})
	t.Cleanup(c.Close)
	svc := echo.NewEchoService("shop", c)
	known := func() int {
		found, err := reader.GetService("shop")
		if err != nil || len(found) != 1 {
			return 0
		}
		return len(found[0].Nodes)
	}
	rpctest.Eventually(t, "all nodes are known", func() bool { return known() == services })

	var calls, failed, slowest atomic.Int64
	least := int64(services)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			begun := time.Now()
			_, err := svc.Call(context.Background(), &echo.Request{}, client.WithRequestTimeout(5*time.Second))
			calls.Add(1)
			if err != nil {
				failed.Add(1)
				t.Log(err)
			}
			slowest.Store(max(slowest.Load(), int64(time.Since(begun))))
			least = min(least, int64(known()))
			<-time.After(20 * time.Millisecond)
		}
	}()
	<-time.After(interval)
	srv.Kill(t)
	<-time.After(lease + 2*interval)
	srv.Restart(t)
	<-time.After(3*interval + 5*time.Second)
	stop()
	<-done
	t.Logf("interval %v, Consul away for %v: %d of %d calls failed, the slowest took %v, at least %d of %d nodes were known",
		interval, lease+2*interval, failed.Load(), calls.Load(), time.Duration(slowest.Load()).Round(time.Millisecond), least, services)
	if failed.Load() > 0 || least < services {
		t.Errorf("%d of %d calls failed, %d of %d nodes were known", failed.Load(), calls.Load(), least, services)
	}
}
