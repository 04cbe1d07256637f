package consul_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/internal/queue"
	"github.com/micro/go-platform/sync/internal/queue/queuetest"
	"github.com/micro/go-platform/sync/synctest"
)

func TestMain(m *testing.M) {
	synctest.Main(consul.NewSync)
	rpctest.Main(backend.StopAfter(m))
}

func at(addrs ...string) synctest.New {
	return func(_ testing.TB, opts ...sync.Option) sync.Sync {
		return consul.NewSync(append([]sync.Option{sync.Nodes(addrs...)}, opts...)...)
	}
}

func TestSuite(t *testing.T) {
	addr := backend.Consul(t, backend.Shared).Addr
	synctest.Run(t, at(addr))
	synctest.RunQueues(t, synctest.Server{
		New: at(addr), TTL: 15 * time.Second, Expiry: 1.5, Contenders: contenders(client(t, addr)),
	})
}

// The agent takes shorter sessions than Consul does by default, or this would
// take minutes.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	server := backend.Consul(t, backend.Args(`-hcl=session_ttl_min = "1s"`, "-data-dir="+dir))
	c := client(t, server.Addr)
	synctest.RunFaults(t, synctest.Remote{
		Server: synctest.Server{TTL: 4 * time.Second, Expiry: 1.5, Contenders: contenders(c)},
		Addr:   server.Addr, At: consul.NewSync, Kill: server.Kill, Restart: server.Restart,
		Wipe: func(tb testing.TB) {
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				tb.Fatal(err)
			}
			server.Restart(tb)
		},
		Remove: func(tb testing.TB, namespace string) {
			if _, err := c.KV().DeleteTree(strings.TrimPrefix(namespace, "/")+"/", nil); err != nil {
				tb.Fatal(err)
			}
		},
	})
}

// Consul's own bound is 10 s: a shorter TTL becomes that, see the package
// comment.
func TestShortTTLIsRaised(t *testing.T) {
	addr := backend.Consul(t, backend.Shared).Addr
	s := consul.NewSync(sync.Nodes(addr))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := s.Lock("short", sync.LockTTL(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Acquire(); err != nil {
		t.Fatal(err)
	}
	sessions, _, err := client(t, addr).Session().List(nil)
	if err != nil || len(sessions) != 1 || sessions[0].TTL != "10s" || len(sessions[0].NodeChecks) != 0 {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func client(tb testing.TB, addr string) *api.Client {
	tb.Helper()
	c := api.DefaultConfig()
	c.Address = addr
	made, err := api.NewClient(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Transport.CloseIdleConnections)
	return made
}

func contenders(c *api.Client) func(testing.TB, string) int {
	return func(tb testing.TB, id string) int {
		tb.Helper()
		keys, _, err := c.KV().Keys(strings.TrimPrefix(queue.Key(sync.DefaultNamespace, "lock", id), "/")+"/", "", nil)
		if err != nil {
			tb.Fatal(err)
		}
		return len(keys)
	}
}

func TestStore(t *testing.T) {
	s, err := consul.NewStore(backend.Consul(t, backend.Shared).Addr)
	if err != nil {
		t.Fatal(err)
	}
	queuetest.Run(t, s)
}
