package memcached_test

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/kvtest"
	"github.com/micro/go-platform/kv/memcached"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func at(addrs ...string) kvtest.New {
	return func(_ testing.TB, opts ...kv.Option) kv.KV {
		return memcached.NewKV(append([]kv.Option{kv.Servers(addrs)}, opts...)...)
	}
}

func TestHandshakes(t *testing.T) {
	rpctest.Handshakes(t, backend.Memcached(t, backend.Shared).Addr, func(t *testing.T, addr string, c *tls.Config) error {
		return kvtest.Call(at(addr).Start(t, kv.TLS(c), kv.Timeout(2*time.Second)))
	})
}

func TestSuite(t *testing.T) {
	n := at(backend.Memcached(t, backend.Shared).Addr)
	kvtest.Run(t, n)
	kvtest.RunAll(t, n)
	t.Run("Unfenced", func(t *testing.T) { kvtest.RunUnfenced(t, n) })
}

func TestFaults(t *testing.T) {
	server := backend.Memcached(t)
	kvtest.RunFaults(t, kvtest.Remote{
		New: at(server.Addr), Addr: server.Addr, At: func(addr string) kvtest.New { return at(addr) },
		Kill: server.Kill, Restart: server.Restart,
	})
}

// Keys are where gomemcache itself looks for them, on all servers, and the death
// of one leaves those of the others.
func TestSeveralServers(t *testing.T) {
	dying := backend.Memcached(t)
	addrs := []string{backend.Memcached(t).Addr, dying.Addr, backend.Memcached(t).Addr}
	n := at(addrs...)
	kvtest.RunMany(t, n)
	k, peer, on := n.Start(t), memcache.New(addrs...), map[string]int{}
	defer func() { _ = peer.Close() }()
	selector := &memcache.ServerList{}
	if err := selector.SetServers(addrs...); err != nil {
		t.Fatal(err)
	}
	for i := range 90 {
		key := fmt.Sprint("key", i)
		if err := k.Put(&kv.Item{Key: key, Value: []byte(key)}); err != nil {
			t.Fatal(err)
		}
		if item, err := peer.Get("micro:" + key); err != nil || string(item.Value) != key {
			t.Fatalf("gomemcache got %v, %v", item, err)
		}
		addr, _ := selector.PickServer("micro:" + key)
		on[addr.String()]++
	}
	dying.Kill(t)
	reached := 0
	for i := range 90 {
		if _, err := k.Get(fmt.Sprint("key", i)); err == nil {
			reached++
		}
	}
	if lost := on[dying.Addr]; len(on) != 3 || reached != 90-lost {
		t.Errorf("%d reached of %v", reached, on)
	}
}

// The server itself forgets, a day before and after its rule changes.
func TestThirtyDays(t *testing.T) {
	addr := backend.Memcached(t, backend.Shared).Addr
	k, peer := at(addr).Start(t), memcache.New(addr)
	defer func() { _ = peer.Close() }()
	for _, days := range []int{29, 30, 31, 3000} {
		if err := k.Put(&kv.Item{Key: "days", Expiration: time.Duration(days) * 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Get("micro:days"); err != nil {
			t.Errorf("%d days: %v", days, err)
		}
	}
	if err := k.Put(&kv.Item{Key: "soon", Expiration: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	kvtest.Eventually(t, time.Minute, "the server itself forgets", func() bool {
		_, err := peer.Get("micro:soon")
		return err != nil
	})
}
