package consul_test

import (
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/synctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func TestSuite(t *testing.T) {
	addr := backend.Consul(t, backend.Shared).Addr
	synctest.Run(t, synctest.Server{
		New: func(_ testing.TB, opts ...sync.Option) sync.Sync {
			return consul.NewSync(append(opts, sync.Nodes(addr))...)
		},
		TTL: 15 * time.Second, Expiry: 1.5,
	})
}
