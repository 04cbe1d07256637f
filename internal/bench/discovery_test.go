package bench

import (
	"fmt"
	"testing"

	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/cache"

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
			"broker": "http", "protocol": "grpc", "registry": "memory", "server": "grpc", "transport": "grpc",
		}})
	}
	if err := r.Register(s); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkDiscovery compares a warm look-up: go-micro's cache copies services
// and nodes but shares their metadata, ours copies all of it; a snapshot copies
// nothing.
func BenchmarkDiscovery(b *testing.B) {
	for _, n := range []int{3, 100} {
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
		look := func(name string, get func() error) {
			b.Run(fmt.Sprintf("%s/%d nodes", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := get(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		look("GetService/ours", func() error { _, err := d.GetService("shop"); return err })
		look("GetService/go-micro", func() error { _, err := c.GetService("shop"); return err })
		look("Snapshot/ours", func() error { _, err := d.Snapshot("shop"); return err })
	}
}
