package etcd_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

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

func TestServers(t *testing.T) { kvtest.RunServers(t, at, backend.Etcd(t, backend.Shared).Addr) }

func TestHandshakes(t *testing.T) {
	rpctest.Handshakes(t, backend.Etcd(t, backend.Shared).Addr, func(t *testing.T, addr string, c *tls.Config) error {
		return kvtest.Call(at(addr).Start(t, kv.TLS(c), kv.Timeout(2*time.Second)))
	})
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

// The user may write the keys that begin with the namespace, and gets a new token
// when the cluster has forgotten the old one.
func TestUser(t *testing.T) {
	server := backend.Etcd(t)
	addr := server.Addr
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(t.Context(), "root", "r"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := root.RoleAdd(t.Context(), "items"); return err },
		func() error {
			_, err := root.RoleGrantPermission(t.Context(), "items", "micro:", clientv3.GetPrefixRangeEnd("micro:"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserAdd(t.Context(), "shop", "secret"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "shop", "items"); return err },
		func() error { _, err := root.AuthEnable(t.Context()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	kvtest.RunUsers(t, at(addr), kvtest.Users{
		Right: []kv.Option{etcd.User("shop", "secret")},
		Wrong: []kv.Option{etcd.User("shop", "wrong"), etcd.User("nobody", "secret")},
	})
	k := at(addr).Start(t, etcd.User("shop", "secret"), kv.Timeout(2*time.Second))
	if err := kvtest.Call(k); err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	early := at(addr).Start(t, etcd.User("shop", "secret"), kv.Timeout(2*time.Second)) // starts without a cluster
	if err := kvtest.Call(early); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("without a cluster: %v", err)
	}
	server.Restart(t)
	for _, k := range []kv.KV{k, early} {
		kvtest.Eventually(t, 20*time.Second, "works after a restart", func() bool { return kvtest.Call(k) == nil })
	}
}
