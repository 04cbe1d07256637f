package consul_test

import (
	"context"
	"errors"
	"fmt"
	stdsync "sync"
	"sync/atomic"
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
	agent := join(t, server)
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
		locks = append(locks, newLock(t, started(t, server.Addr), "restored", 2*time.Second))
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
	passesOn(t, lost, done)
	if err := locks[1].Release(); err != nil {
		t.Error(err)
	}
}

// TestAgentLeaves: an agent that leaves gracefully takes the sessions made
// through it, Consul frees what they hold at once. The holder hears of it long
// before its lease would be over.
func TestAgentLeaves(t *testing.T) {
	server := backend.Consul(t)
	agent := join(t, server)
	const ttl = 2 * time.Minute // which is renewed every 30 s
	held, next := started(t, agent.Addr), started(t, server.Addr)
	mine, theirs := newLock(t, held, "leaving", ttl), newLock(t, next, "leaving", ttl)
	if err := mine.Acquire(); err != nil {
		t.Fatal(err)
	}
	token, err := mine.Token()
	if err != nil {
		t.Fatal(err)
	}
	lost, done := mine.Lost(), make(chan error, 1)
	go func() { done <- theirs.Acquire() }()
	rpctest.Eventually(t, "a contender", func() bool { return contenders(client(t, server.Addr))(t, "leaving") == 2 })
	if err := client(t, agent.Addr).Agent().Leave(); err != nil {
		t.Fatal(err)
	}
	defer agent.Kill(t) // it ends by itself
	passesOn(t, lost, done)
	if after, err := theirs.Token(); err != nil || after <= token {
		t.Errorf("token %d after %d, %v", after, token, err)
	}
}

// TestGhost: a snapshot brings back an entry of a session that lives on, which
// was given back since. It blocks nobody, and tokens rise.
func TestGhost(t *testing.T) {
	server := backend.Consul(t)
	c := client(t, server.Addr)
	const ttl = time.Minute
	s := started(t, server.Addr)
	other, l := newLock(t, s, "other", ttl), newLock(t, s, "ghost", ttl)
	for _, l := range []sync.Lock{other, l} {
		if err := l.Acquire(); err != nil {
			t.Fatal(err)
		}
	}
	before, err := l.Token()
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _, err := c.Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = snapshot.Close() }() // it was read
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if err := c.Snapshot().Restore(nil, snapshot); err != nil {
		t.Fatal(err)
	}
	for _, x := range []sync.Sync{started(t, server.Addr), s} {
		next := newLock(t, x, "ghost", ttl, sync.LockWait(20*time.Second))
		if err := next.Acquire(); err != nil {
			t.Fatal(err)
		}
		token, err := next.Token()
		if err != nil || token <= before {
			t.Errorf("token %d after %d, %v", token, before, err)
		}
		before = token
		if err := next.Release(); err != nil {
			t.Error(err)
		}
	}
	if _, err := other.Token(); err != nil {
		t.Errorf("what the snapshot has was lost: %v", err)
	}
}

// TestManyWaiters: more of them on one host than an agent takes connections.
func TestManyWaiters(t *testing.T) {
	server := backend.Consul(t, backend.Args(`-hcl=session_ttl_min = "1s"`))
	const waiters, ttl = 230, 20 * time.Second // of which a busy machine may take some
	c, holder, s := client(t, server.Addr), started(t, server.Addr), started(t, server.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	held := newLock(t, holder, "busy", ttl)
	if err := held.Acquire(); err != nil {
		t.Fatal(err)
	}
	queue := func(n int) { // a busy machine takes a while for all of them
		for deadline := time.Now().Add(time.Minute); contenders(c)(t, "busy") != n; <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d contenders, want %d", contenders(c)(t, "busy"), n)
			}
		}
	}
	var wg stdsync.WaitGroup
	var got atomic.Int32
	for i := range waiters {
		if i%10 == 0 { // who comes reads the whole queue: not all at once
			queue(i + 1)
		}
		l := newLock(t, s, "busy", ttl)
		wg.Go(func() {
			switch err := l.Acquire(sync.WithContext(ctx)); {
			case err == nil:
				if got.Add(1) == 10 {
					cancel() // the last ones have nothing to show
				}
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			case !errors.Is(err, context.Canceled):
				t.Error(err)
			}
		})
	}
	queue(waiters + 1)
	for until := time.Now().Add(ttl * 5 / 4); time.Now().Before(until); <-time.After(20 * time.Millisecond) {
		if _, err := held.Token(); err != nil {
			t.Fatalf("lost among waiters: %v", err)
		}
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	cancel()
	if got.Load() < 10 {
		t.Errorf("%d of those who waited got it", got.Load())
	}
}

// passesOn waits until the holder has heard that the lock is lost, and the waiting
// contender has it.
func passesOn(t *testing.T, lost <-chan struct{}, acquired <-chan error) {
	t.Helper()
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Error("the holder never heard of it")
	}
	select {
	case err := <-acquired:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the one who waits never got it")
	}
}

func started(t *testing.T, addrs ...string) sync.Sync {
	t.Helper()
	s := consul.NewSync(sync.Nodes(addrs...))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newLock(t *testing.T, s sync.Sync, id string, ttl time.Duration, opts ...sync.LockOption) sync.Lock {
	t.Helper()
	l, err := s.Lock(id, append(opts, sync.LockTTL(ttl))...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// join returns a client agent of the server's datacenter.
func join(t *testing.T, server *backend.Server) *backend.Server {
	t.Helper()
	members, err := client(t, server.Addr).Agent().Members(false)
	if err != nil || len(members) != 1 {
		t.Fatalf("%v, %v", members, err)
	}
	return backend.Consul(t, backend.Args("-server=false", "-bootstrap-expect=0", "-node=agent",
		fmt.Sprintf("-retry-join=%s:%d", members[0].Addr, members[0].Port)))
}
