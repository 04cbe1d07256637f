package backend_test

import (
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/backend"
)

func TestConsul(t *testing.T) {
	s := backend.Consul(t)
	cfg := api.DefaultConfig()
	cfg.Address = s.Addr
	cfg.Transport.DisableKeepAlives = true
	client, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.KV().Put(&api.KVPair{Key: "k", Value: []byte("v")}, nil); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Restart(t)
	pair, _, err := client.KV().Get("k", nil)
	if err != nil || pair == nil || string(pair.Value) != "v" {
		t.Fatalf("Get = %v, %v; want v", pair, err)
	}
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "shop", Port: 1}); err != nil {
		t.Fatal(err)
	}
}
