package consul_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/synctest"
)

// TestCluster has two agents of a datacenter, of which the one in use dies.
func TestCluster(t *testing.T) {
	server := backend.Consul(t, backend.Args(`-hcl=session_ttl_min = "1s"`))
	members, err := client(t, server.Addr).Agent().Members(false)
	if err != nil || len(members) != 1 {
		t.Fatalf("%v, %v", members, err)
	}
	agent := backend.Consul(t, backend.Args("-server=false", "-bootstrap-expect=0", "-node=agent",
		fmt.Sprintf("-retry-join=%s:%d", members[0].Addr, members[0].Port)))
	synctest.RunCluster(t, synctest.Cluster{
		Server: synctest.Server{TTL: 2 * time.Second, Contenders: contenders(client(t, server.Addr))},
		Addrs:  []string{agent.Addr, server.Addr}, At: consul.NewSync, Kill: agent.Kill,
	})
}

// TestRestored: a snapshot brings back a time in which nobody held anything,
// and indexes below those that are watched.
func TestRestored(t *testing.T) {
	server := backend.Consul(t, backend.Args(`-hcl=session_ttl_min = "1s"`))
	c := client(t, server.Addr)
	snapshot, _, err := c.Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = snapshot.Close() }() // it was read
	var locks []sync.Lock
	for range 2 {
		s := consul.NewSync(sync.Nodes(server.Addr))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		l, err := s.Lock("restored", sync.LockTTL(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, l)
	}
	if err := locks[0].Acquire(); err != nil {
		t.Fatal(err)
	}
	lost, done := locks[0].Lost(), make(chan error, 1)
	go func() { done <- locks[1].Acquire() }()
	rpctest.Eventually(t, "a contender", func() bool { return contenders(c)(t, "restored") == 2 })
	if err := c.Snapshot().Restore(nil, snapshot); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Error("the holder never heard of it")
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the one who waits never got it")
	}
	if err := locks[1].Release(); err != nil {
		t.Error(err)
	}
}
