package etcd_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/etcd"
	"github.com/micro/go-platform/sync/synctest"
)

func TestServers(t *testing.T) { synctest.RunServers(t, at, backend.Etcd(t, backend.Shared).Addr) }

func TestHandshakes(t *testing.T) {
	rpctest.Handshakes(t, backend.Etcd(t, backend.Shared).Addr, func(t *testing.T, addr string, c *tls.Config) error {
		return synctest.Call(at(addr).Start(t, sync.TLS(c)))
	})
}

func TestUser(t *testing.T) {
	server := backend.Etcd(t)
	root := client(t, server.Addr)
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(t.Context(), "root", "r"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := root.RoleAdd(t.Context(), "locks"); return err },
		func() error {
			_, err := root.RoleGrantPermission(t.Context(), "locks", "/micro/sync/", clientv3.GetPrefixRangeEnd("/micro/sync/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserAdd(t.Context(), "shop", "secret"); return err },
		func() error { _, err := root.UserGrantRole(t.Context(), "shop", "locks"); return err },
		func() error { _, err := root.AuthEnable(t.Context()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	synctest.RunUsers(t, at(server.Addr), synctest.Users{
		Right: []sync.Option{etcd.User("shop", "secret")},
		Wrong: []sync.Option{etcd.User("shop", "wrong"), etcd.User("nobody", "secret")},
	})
	server.Kill(t)
	early := at(server.Addr).Start(t, etcd.User("shop", "secret")) // starts without a cluster
	if err := synctest.Call(early); !errors.Is(err, sync.ErrUnavailable) {
		t.Errorf("without a cluster: %v", err)
	}
	server.Restart(t)
	rpctest.Within(t, 30*time.Second, "works after a restart", func() bool { return synctest.Call(early) == nil })
}
