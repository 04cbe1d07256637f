package etcd_test

import (
	"context"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/etcd"
	"github.com/micro/go-platform/sync/internal/queue"
	"github.com/micro/go-platform/sync/internal/queue/queuetest"
	"github.com/micro/go-platform/sync/synctest"
)

func TestMain(m *testing.M) {
	synctest.Main(etcd.NewSync)
	rpctest.Main(backend.StopAfter(m))
}

func at(addrs ...string) synctest.New {
	return func(_ testing.TB, opts ...sync.Option) sync.Sync {
		return etcd.NewSync(append([]sync.Option{sync.Nodes(addrs...)}, opts...)...)
	}
}

func TestSuite(t *testing.T) {
	addr := backend.Etcd(t, backend.Shared).Addr
	synctest.Run(t, at(addr))
	synctest.RunQueues(t, synctest.Server{
		New: at(addr), TTL: 2 * time.Second, Expiry: 1, Contenders: contenders(client(t, addr)),
	})
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	server := backend.Etcd(t, backend.Args("--data-dir", dir))
	c := client(t, server.Addr)
	synctest.RunFaults(t, synctest.Remote{
		// etcd looks for expired leases twice a second.
		Server: synctest.Server{TTL: 3 * time.Second, Expiry: 1.5, Contenders: contenders(c)},
		Addr:   server.Addr, At: etcd.NewSync, Kill: server.Kill, Restart: server.Restart,
		Wipe: func(tb testing.TB) {
			if err := os.RemoveAll(dir + "/member"); err != nil {
				tb.Fatal(err)
			}
			server.Restart(tb)
		},
		Remove: func(tb testing.TB, namespace string) {
			if _, err := c.Delete(context.Background(), namespace+"/", clientv3.WithPrefix()); err != nil {
				tb.Fatal(err)
			}
		},
	})
}

func client(tb testing.TB, addresses ...string) *clientv3.Client {
	tb.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: addresses, Logger: zap.NewNop()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func contenders(c *clientv3.Client) func(testing.TB, string) int {
	return func(tb testing.TB, id string) int {
		tb.Helper()
		rsp, err := c.Get(tb.Context(), queue.Key(sync.DefaultNamespace, "lock", id)+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			tb.Fatal(err)
		}
		return int(rsp.Count)
	}
}

func TestStore(t *testing.T) { queuetest.Run(t, etcd.NewStore(backend.Etcd(t, backend.Shared).Addr)) }
