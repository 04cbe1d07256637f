package bench

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/cache"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/memreg"
)

// discovered returns a registry that holds a service with n nodes, with the
// metadata that go-micro's servers give them.
func discovered(b *testing.B, n int) registry.Registry {
	r := memreg.New()
	s := &registry.Service{Name: "shop", Version: "v1", Endpoints: []*registry.Endpoint{{Name: "Shop.Get"}, {Name: "Shop.List"}}}
	for i := range n {
		s.Nodes = append(s.Nodes, &registry.Node{Id: fmt.Sprint("shop-", i), Address: "127.0.0.1:80", Metadata: map[string]string{
			"broker": "http", "protocol": "grpc", "registry": "memory", "server": "grpc", "transport": "grpc", "zone": "eu-1a",
		}})
	}
	if err := r.Register(s); err != nil {
		b.Fatal(err)
	}
	return r
}

// deep is what go-micro's cache would cost if callers could change what they
// get, as they can here: it copies services and nodes but shares the metadata.
func deep(services []*registry.Service) {
	for _, s := range services {
		for _, n := range s.Nodes {
			n.Metadata = maps.Clone(n.Metadata)
		}
	}
}

// BenchmarkDiscovery compares a warm look-up in turns of all, so that they see
// the same machine: median times and their ratio to go-micro's cache, as it is
// and copying as much as ours does. A snapshot copies nothing.
func BenchmarkDiscovery(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		r := discovered(b, n)
		d := discovery.NewDiscovery(discovery.Registry(r), discovery.EnableDiscovery(false))
		if err := d.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := d.Stop(); err != nil {
				b.Error(err)
			}
		})
		c := cache.New(r)
		b.Cleanup(c.Stop)
		gets := []func() error{
			func() error { _, err := d.GetService("shop"); return err },
			func() error { _, err := c.GetService("shop"); return err },
			func() error { s, err := c.GetService("shop"); deep(s); return err },
			func() error { _, err := d.Snapshot("shop"); return err },
		}
		b.Run(fmt.Sprintf("%d nodes", n), func(b *testing.B) {
			const turn = 100
			took := make([][]time.Duration, len(gets))
			for b.Loop() {
				for i, get := range gets {
					begun := time.Now()
					for range turn {
						if err := get(); err != nil {
							b.Fatal(err)
						}
					}
					took[i] = append(took[i], time.Since(begun)/turn)
				}
			}
			ours, shared, copied, snapshot := median(took[0]), median(took[1]), median(took[2]), median(took[3])
			b.ReportMetric(float64(ours), "ns-ours")
			b.ReportMetric(float64(snapshot), "ns-snapshot")
			b.ReportMetric(float64(ours)/float64(shared), "of-go-micro")
			b.ReportMetric(float64(ours)/float64(copied), "of-go-micro-deep")
			b.ReportMetric(testing.AllocsPerRun(turn, func() { _ = gets[0]() }), "allocs-ours") // as above
			b.ReportMetric(testing.AllocsPerRun(turn, func() { _ = gets[1]() }), "allocs-go-micro")
			b.ReportMetric(0, "ns/op")
		})
	}
}
