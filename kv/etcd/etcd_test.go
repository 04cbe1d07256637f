package etcd_test

import (
	"testing"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/etcd"
	"github.com/micro/go-platform/kv/kvtest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func at(addrs ...string) kvtest.New {
	return func(_ testing.TB, opts ...kv.Option) kv.KV {
		return etcd.NewKV(append([]kv.Option{kv.Servers(addrs)}, opts...)...)
	}
}

func TestSuite(t *testing.T) {
	n := at(backend.Etcd(t, backend.Shared).Addr)
	kvtest.Run(t, n)
	kvtest.RunAll(t, n)
	t.Run("Unfenced", func(t *testing.T) { kvtest.RunUnfenced(t, n) })
}

// The first of the servers is dead from the beginning.
func TestFaults(t *testing.T) {
	server := backend.Etcd(t)
	kvtest.RunFaults(t, kvtest.Remote{
		New: at("127.0.0.1:1", server.Addr), Addr: server.Addr, At: func(addr string) kvtest.New { return at("127.0.0.1:1", addr) },
		Kill: server.Kill, Restart: server.Restart, Keeps: true,
	})
}
