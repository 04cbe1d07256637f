package e2e_test

import (
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
	locks "github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/etcd"
	"github.com/micro/go-platform/sync/synctest"
)

// TestFaultLocks is what TestFaultNoTwoLeaders of sync/internal/queue simulates, on
// real servers that are killed and restarted: 30 elections in make test, 2 000
// on each in make faults.
func TestFaultLocks(t *testing.T) {
	t.Run("etcd", func(t *testing.T) {
		t.Parallel()
		holdRounds(t, backend.Etcd(t), etcd.NewSync, time.Second)
	})
	t.Run("consul", func(t *testing.T) {
		t.Parallel()
		holdRounds(t, backend.Consul(t, backend.Args(`-hcl=session_ttl_min = "1s"`)), consul.NewSync, 1400*time.Millisecond)
	})
}

func holdRounds(t *testing.T, server *backend.Server, newSync func(...locks.Option) locks.Sync, ttl time.Duration) {
	rounds := synctest.Rounds{
		Rounds: 30, TTL: ttl, PauseOneIn: 10, RestartEvery: 20,
		Restart: func() { server.Kill(t); server.Restart(t) },
	}
	if rpctest.Long() {
		rounds.Rounds, rounds.PauseOneIn, rounds.RestartEvery = 2000, 50, 100
	}
	for range 3 {
		link := netcut.New(t, server.Addr)
		s := newSync(locks.Nodes(link.Addr))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		rounds.Contenders = append(rounds.Contenders, synctest.Contender{Sync: s, Pause: func(paused bool) {
			if paused {
				link.Cut()
			} else {
				link.Heal()
			}
		}})
	}
	rounds.Run(t)
}
