package backend_test

import (
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/micro/go-platform/internal/backend"
)

func TestMemcached(t *testing.T) {
	client := memcache.New(backend.Memcached(t).Addr)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := client.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	item, err := client.Get("k")
	if err != nil || string(item.Value) != "v" {
		t.Fatalf("Get = %v, %v; want v", item, err)
	}
}
