package discovery_test

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
)

// The router and our clients put no cache of their own on top of the plugin's.
func TestOneCacheForAll(t *testing.T) {
	r := memreg.New()
	register(t, r, shop("1", "2"))
	d := started(t, discovery.NewDiscovery(discovery.Registry(r), discovery.EnableDiscovery(false)))
	s, err := d.Snapshot("shop")
	if err != nil {
		t.Fatal(err)
	}
	cache := regcache.Of(d)
	if cache == nil {
		t.Fatal("the plugin has no cache for others")
	}
	if same, err := cache.Snapshot("shop"); err != nil || (*discovery.Snapshot)(same) != s {
		t.Errorf("another snapshot: %p, want %p: %v", same, s, err)
	}
	if none, err := d.Snapshot("bank"); none != nil || !errors.Is(err, discovery.ErrNotFound) {
		t.Errorf("unknown service: %v, %v", none, err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = d.Snapshot("shop") }); n != 0 { // an error shows above
		t.Errorf("%v allocations", n)
	}
}
