package consul_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/consul"
	"github.com/micro/go-platform/kv/kvtest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func at(addrs ...string) kvtest.New {
	return func(_ testing.TB, opts ...kv.Option) kv.KV {
		return consul.NewKV(append([]kv.Option{kv.Servers(addrs)}, opts...)...)
	}
}

func TestServers(t *testing.T) { kvtest.RunServers(t, at, backend.Consul(t, backend.Shared).Addr) }

func TestHandshakes(t *testing.T) {
	rpctest.Handshakes(t, backend.Consul(t, backend.Shared).Addr, func(t *testing.T, addr string, c *tls.Config) error {
		return kvtest.Call(at(addr).Start(t, kv.TLS(c), kv.Timeout(2*time.Second)))
	})
}

func TestSuite(t *testing.T) {
	n := at(backend.Consul(t, backend.Shared).Addr)
	kvtest.Run(t, n)
	kvtest.RunAll(t, n)
	t.Run("Unfenced", func(t *testing.T) { kvtest.RunUnfenced(t, n) })
}

// However often an item is replaced, one session waits for its end, and none when
// it is gone or stays.
func TestSessionsDoNotPileUp(t *testing.T) {
	addr := backend.Consul(t).Addr
	k := at(addr).Start(t)
	c, err := api.NewClient(&api.Config{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	for round, write := range []func(ttl time.Duration) error{
		func(ttl time.Duration) error { return k.Put(&kv.Item{Key: "k", Value: []byte("1"), Expiration: ttl}) },
		func(ttl time.Duration) error { return k.(kv.Toucher).Touch("k", ttl) },
		func(time.Duration) error { _, err := k.(kv.Counter).Incr("k", 1); return err },
	} {
		for range 10 {
			if err := write(time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if all, _, err := c.Session().List(nil); err != nil || len(all) != 1 {
			t.Errorf("%d sessions of one item after writes of kind %d, %v", len(all), round, err)
		}
	}
	for name, end := range map[string]func() error{
		"put for ever": func() error { return k.Put(&kv.Item{Key: "k"}) }, "del": func() error { return k.Del("k") },
	} {
		if err := errors.Join(k.Put(&kv.Item{Key: "k", Expiration: time.Hour}), end()); err != nil {
			t.Fatal(err)
		}
		if all, _, err := c.Session().List(nil); err != nil || len(all) != 0 {
			t.Errorf("%d sessions after %s, %v", len(all), name, err)
		}
	}
}

// The first of the servers is dead from the beginning.
func TestFaults(t *testing.T) {
	server := backend.Consul(t)
	kvtest.RunFaults(t, kvtest.Remote{
		New: at("127.0.0.1:1", server.Addr), Addr: server.Addr, At: func(addr string) kvtest.New { return at("127.0.0.1:1", addr) },
		Kill: server.Kill, Restart: server.Restart, Keeps: true,
	})
}

func TestToken(t *testing.T) {
	addr := backend.Consul(t, backend.Args(`-hcl=acl { enabled = true, default_policy = "allow", tokens { initial_management = "root" } }`)).Addr
	c, err := api.NewClient(&api.Config{Address: addr, Token: "root"})
	if err != nil {
		t.Fatal(err)
	}
	nothing, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: "nothing", Rules: `key_prefix "" { policy = "deny" } session_prefix "" { policy = "deny" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const anonymous = "00000000-0000-0000-0000-000000000002"
	if _, _, err := c.ACL().TokenUpdate(&api.ACLToken{AccessorID: anonymous, Policies: []*api.ACLTokenPolicyLink{{ID: nothing.ID}}}, nil); err != nil {
		t.Fatal(err)
	}
	policy, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: "items", Rules: `key_prefix "kv/micro/" { policy = "write" } session_prefix "" { policy = "write" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kvtest.RunUsers(t, at(addr), kvtest.Users{
		Right: []kv.Option{consul.Token(token.SecretID)},
		Wrong: []kv.Option{consul.Token("e95b599e-166e-7d80-08ad-aee76e7ddf19")},
	})
	k := at(addr).Start(t, consul.Token(token.SecretID))
	if err := k.Put(&kv.Item{Key: kvtest.Fresh(), Expiration: time.Hour}); err != nil {
		t.Error(err) // it needs a session
	}
}
