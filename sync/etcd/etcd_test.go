package etcd_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/etcd"
	"github.com/micro/go-platform/sync/synctest"
)

func TestMain(m *testing.M) {
	synctest.Main(etcd.NewSync)
	rpctest.Main(backend.StopAfter(m))
}

func TestSuite(t *testing.T) {
	addr := backend.Etcd(t, backend.Shared).Addr
	synctest.Run(t, synctest.Server{
		New: func(_ testing.TB, opts ...sync.Option) sync.Sync {
			return etcd.NewSync(append(opts, sync.Nodes(addr))...)
		},
		TTL: 2 * time.Second, Expiry: 1,
	})
}

func TestFaults(t *testing.T) {
	server := backend.Etcd(t)
	synctest.RunFaults(t, synctest.Remote{
		Server: synctest.Server{TTL: 3 * time.Second, Expiry: 1.5}, // etcd looks for expired leases twice a second
		Addr:   server.Addr, At: etcd.NewSync, Kill: server.Kill, Restart: server.Restart,
		Remove: func(tb testing.TB, namespace string) {
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Addr}})
			if err != nil {
				tb.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Delete(context.Background(), namespace+"/", clientv3.WithPrefix()); err != nil {
				tb.Fatal(err)
			}
		},
	})
}
