package bench_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/etcd"
)

// BenchmarkLock is an uncontended acquire and release over the loopback, ours
// beside the lock of the server's own client with a session that is kept: the
// medians of both, taken in turns.
func BenchmarkLock(b *testing.B) {
	b.Run("etcd", func(b *testing.B) {
		addr := backend.Etcd(b).Addr
		inTurns(b, ourLock(b, etcd.NewSync(sync.Nodes(addr))), concurrencyLock(b, addr))
	})
	b.Run("consul", func(b *testing.B) {
		addr := backend.Consul(b).Addr
		inTurns(b, ourLock(b, consul.NewSync(sync.Nodes(addr))), apiLock(b, addr))
	})
}

func inTurns(b *testing.B, locks ...func() error) {
	took := make([][]time.Duration, len(locks))
	for _, lock := range locks { // opens connection and session
		if err := lock(); err != nil {
			b.Fatal(err)
		}
	}
	for first := 0; b.Loop(); first++ {
		for i := range locks {
			i = (i + first) % len(locks) // who comes second finds a warmer machine
			began := time.Now()
			if err := locks[i](); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	var medians []float64
	for _, t := range took {
		slices.Sort(t)
		medians = append(medians, float64(t[len(t)/2].Microseconds()))
	}
	b.ReportMetric(medians[0], "ours-µs")
	b.ReportMetric(medians[1], "theirs-µs")
	b.ReportMetric(medians[0]/medians[1], "ratio")
}

func ourLock(b *testing.B, s sync.Sync) func() error {
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(); err != nil {
			b.Error(err)
		}
	})
	l, err := s.Lock("bench")
	if err != nil {
		b.Fatal(err)
	}
	return func() error { return errors.Join(l.Acquire(), l.Release()) }
}

func concurrencyLock(b *testing.B, addr string) func() error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	session, err := concurrency.NewSession(c, concurrency.WithTTL(15))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = session.Close() })
	m := concurrency.NewMutex(session, "/bench/concurrency")
	ctx := context.Background()
	return func() error { return errors.Join(m.Lock(ctx), m.Unlock(ctx)) }
}

func apiLock(b *testing.B, addr string) func() error {
	c, err := api.NewClient(&api.Config{Address: addr})
	if err != nil {
		b.Fatal(err)
	}
	session, _, err := c.Session().CreateNoChecks(&api.SessionEntry{TTL: "15s", LockDelay: 1}, nil)
	if err != nil {
		b.Fatal(err)
	}
	l, err := c.LockOpts(&api.LockOptions{Key: "bench/api", Session: session})
	if err != nil {
		b.Fatal(err)
	}
	return func() error {
		_, err := l.Lock(nil)
		return errors.Join(err, l.Unlock())
	}
}
