package etcd_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/config/source/etcd"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func client(t testing.TB, addr string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is lost with it
	return c
}

func put(t testing.TB, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func TestSource(t *testing.T) {
	s := backend.Etcd(t)
	n := 0
	configtest.RunSource(t, func(t testing.TB) configtest.Fixture {
		n++
		path := fmt.Sprintf("/test/%d", n)
		c := client(t, s.Addr)
		return configtest.Fixture{
			Source: etcd.NewSource(config.SourceHosts(s.Addr), config.SourceName(path)),
			Put: func(t testing.TB, values map[string]any) {
				data, err := json.Marshal(values)
				if err != nil {
					t.Fatal(err)
				}
				put(t, c, path, string(data))
			},
			Text: func(t testing.TB, values map[string]string) {
				for name, value := range values {
					put(t, c, path+"/"+name, value)
				}
			},
			Break: func(t testing.TB) { s.Kill(t) }, Heal: func(t testing.TB) { s.Restart(t) },
		}
	})
	t.Run("Keys", func(t *testing.T) { testKeys(t, s.Addr) })
	t.Run("Compaction", func(t *testing.T) { testCompaction(t, s.Addr) })
	t.Run("Servers", func(t *testing.T) {
		put(t, client(t, s.Addr), "/servers/a", "1")
		configtest.RunServers(t, s.Addr, func(_ testing.TB, hosts ...string) config.Source {
			return etcd.NewSource(config.SourceHosts(hosts...), config.SourceName("/servers"))
		})
	})
	t.Run("TLS", func(t *testing.T) {
		rpctest.Handshakes(t, s.Addr, func(_ *testing.T, addr string, c *tls.Config) error {
			_, err := etcd.NewSource(config.SourceHosts(addr), config.SourceName("/servers"), config.SourceTLS(c)).Read()
			return err
		})
	})
	t.Run("Account", func(t *testing.T) { testAccount(t, s.Addr) })
}

func start(t *testing.T, s config.Source) config.Config {
	t.Helper()
	c := config.NewConfig(config.WithSource(s), config.PollInterval(time.Hour))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func testKeys(t *testing.T, addr string) {
	store := client(t, addr)
	put(t, store, "/micro/config/db/host", "localhost")
	put(t, store, "/micro/config/db/port", "5432")
	put(t, store, "/micro/configuration/other", "1")
	put(t, store, "/micro/config/../odd", "1") // costs itself
	c := start(t, etcd.NewSource(config.SourceHosts(addr)))
	if got := string(c.Bytes()); got != `{"db":{"host":"localhost","port":5432}}` {
		t.Errorf("got %s", got)
	}
	if skipped := c.Status()[0].Skipped; len(skipped) != 1 || !strings.Contains(skipped[0], "../odd") {
		t.Errorf("the odd one is named: %q", skipped)
	}
	if _, err := store.Delete(t.Context(), "/micro/config/db/port"); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "one key is gone", func() bool { return c.Get("db", "port").Int(0) == 0 })
	// Two keys in one transaction are seen together.
	w, err := c.Watch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Txn(t.Context()).Then(clientv3.OpPut("/micro/config/x", "1"), clientv3.OpPut("/micro/config/y", "1")).Commit(); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Next(); err != nil || string(v.Bytes()) != `{"db":{"host":"localhost"},"x":1,"y":1}` {
		t.Errorf("a transaction: %v, %v", v, err)
	}
}

func testCompaction(t *testing.T, addr string) {
	store := client(t, addr)
	put(t, store, "/compacted", `{"a":0}`)
	c := start(t, etcd.NewSource(config.SourceHosts(addr), config.SourceName("/compacted")))
	for i := range 20 {
		rsp, err := store.Put(t.Context(), "/compacted", fmt.Sprintf(`{"a":%d}`, i+1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Compact(t.Context(), rsp.Header.Revision); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "the newest value is there", func() bool { return c.Get("a").Int(0) == 20 })
}

// testAccount uses a user with the rights that the source needs, and no more. It
// comes last: from then on the server answers nothing without a user.
func testAccount(t *testing.T, addr string) {
	store, ctx := client(t, addr), t.Context()
	put(t, store, "/own/a", "1")
	put(t, store, "/owned/by/others", "1")
	_, err := store.RoleAdd(ctx, "reader")
	for _, end := range [][2]string{{"/own", ""}, {"/own/", clientv3.GetPrefixRangeEnd("/own/")}} {
		if err == nil {
			_, err = store.RoleGrantPermission(ctx, "reader", end[0], end[1], clientv3.PermissionType(clientv3.PermRead))
		}
	}
	for _, user := range [][3]string{{"root", "secret", "root"}, {"app", "right", "reader"}} {
		if err == nil {
			_, err = store.UserAdd(ctx, user[0], user[1])
		}
		if err == nil {
			_, err = store.UserGrantRole(ctx, user[0], user[2])
		}
	}
	if err == nil {
		_, err = store.AuthEnable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	as := func(password string) config.Source {
		return etcd.NewSource(config.SourceHosts(addr), config.SourceName("/own"), etcd.User("app", password))
	}
	c := start(t, as("right"))
	if got := string(c.Bytes()); got != `{"a":1}` {
		t.Errorf("got %s", got)
	}
	rpctest.Eventually(t, "changes are told of", func() bool { return c.Status()[0].WatchErr == nil })
	if _, err := as("wrong").Read(); err == nil {
		t.Error("a wrong password was taken")
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := etcd.NewSource(config.SourceName("/")).Read(); !errors.Is(err, config.ErrInvalid) {
		t.Error(err)
	}
}
