package etcd_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/sync/etcd"
	"github.com/micro/go-platform/sync/synctest"
)

// TestCluster has three nodes, of which the leader dies.
func TestCluster(t *testing.T) {
	// The backend's own timings are for a cluster of one.
	patient := []string{"--strict-reconfig-check=false", "--heartbeat-interval", "100", "--election-timeout", "1000"}
	first := backend.Etcd(t, backend.Args(patient...))
	addrs := []string{first.Addr}
	rsp, err := client(t, first.Addr).MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cluster := "test=" + rsp.Members[0].PeerURLs[0]
	for i := range 2 {
		name, peer := fmt.Sprint("node", i), "http://"+backend.Address(t)
		if _, err := client(t, addrs...).MemberAdd(t.Context(), []string{peer}); err != nil {
			t.Fatal(err)
		}
		cluster += "," + name + "=" + peer
		addrs = append(addrs, backend.Etcd(t, backend.Args(append(patient,
			"--name", name, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", cluster, "--initial-cluster-state", "existing",
		)...)).Addr)
	}
	synctest.RunCluster(t, synctest.Cluster{
		Server: synctest.Server{TTL: 6 * time.Second, Contenders: contenders(client(t, addrs[1:]...))},
		Addrs:  addrs, At: etcd.NewSync, Kill: first.Kill,
	})
}
