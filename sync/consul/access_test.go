package consul_test

import (
	"crypto/tls"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/synctest"
)

func TestServers(t *testing.T) { synctest.RunServers(t, at, backend.Consul(t, backend.Shared).Addr) }

func TestHandshakes(t *testing.T) {
	rpctest.Handshakes(t, backend.Consul(t, backend.Shared).Addr, func(t *testing.T, addr string, c *tls.Config) error {
		return synctest.Call(at(addr).Start(t, sync.TLS(c)))
	})
}

func TestToken(t *testing.T) {
	addr := backend.Consul(t, backend.Args(`-hcl=acl { enabled = true, default_policy = "allow", tokens { initial_management = "root" } }`)).Addr
	c, err := api.NewClient(&api.Config{Address: addr, Token: "root"})
	if err != nil {
		t.Fatal(err)
	}
	links := make([]*api.ACLTokenPolicyLink, 2)
	for i, rules := range []string{
		`key_prefix "" { policy = "deny" } session_prefix "" { policy = "deny" }`,
		`key_prefix "micro/sync/" { policy = "write" } session_prefix "" { policy = "write" }`,
	} {
		p, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: []string{"nothing", "locks"}[i], Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		links[i] = &api.ACLTokenPolicyLink{ID: p.ID}
	}
	const anonymous = "00000000-0000-0000-0000-000000000002"
	if _, _, err := c.ACL().TokenUpdate(&api.ACLToken{AccessorID: anonymous, Policies: links[:1]}, nil); err != nil {
		t.Fatal(err)
	}
	token, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: links[1:]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.RunUsers(t, at(addr), synctest.Users{
		Right: []sync.Option{consul.Token(token.SecretID)},
		Wrong: []sync.Option{consul.Token("e95b599e-166e-7d80-08ad-aee76e7ddf19")},
	})
}
