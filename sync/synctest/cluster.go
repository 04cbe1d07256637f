package synctest

import (
	"testing"
	"time"

	"github.com/micro/go-platform/sync"
)

// Cluster is a server of several nodes that survives its first.
type Cluster struct {
	Server
	Addrs []string
	At    func(opts ...sync.Option) sync.Sync
	// Kill ends the first node as a crash would.
	Kill func(tb testing.TB)
}

// RunCluster checks that holders and waits go on at another node when the first
// node dies, and that later contenders find a node that lives.
func RunCluster(t *testing.T, c Cluster) {
	c.New = func(_ testing.TB, opts ...sync.Option) sync.Sync {
		return c.At(append(opts, sync.Nodes(c.Addrs...))...)
	}
	a, b := c.New.Start(t), c.New.Start(t)
	id := fresh()
	held, next := newLock(t, a, id, sync.LockTTL(c.TTL)), newLock(t, b, id, sync.LockTTL(c.TTL))
	token := acquire(t, held)
	waiting := c.queued(t, next)
	c.Kill(t)
	dead := time.Now()
	eventually(t, patience, "twice the TTL", func() bool {
		if again, err := held.Token(); err != nil || again != token {
			t.Fatalf("token %d, %v, %v after a node died", again, err, time.Since(dead))
		}
		return time.Since(dead) > 2*c.TTL
	})
	if len(waiting) > 0 {
		t.Fatalf("two holders: %v", <-waiting)
	}
	release(t, held)
	select {
	case err := <-waiting:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("a wait ended with the node it was at")
	}
	release(t, next)
	late := newLock(t, c.New.Start(t), id, sync.LockTTL(c.TTL))
	if after := acquire(t, late); after <= token {
		t.Errorf("token %d after %d", after, token)
	}
	release(t, late)
}
