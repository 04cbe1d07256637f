package regcache_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpctest"
)

// leases is a registry whose tombstones are of leases that ended, as etcd's may be.
type leases struct{ *memreg.Registry }

func (leases) String() string { return "etcd" }

// Where many leases end together the nodes stay for a while that do not refuse
// connections. A single node, those that were draining, and the dead go at once.
func TestLeasesThatEndTogether(t *testing.T) {
	const beat = 250 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nobody is served
	r := leases{memreg.New()}
	node := func(id, address string) *registry.Service {
		s := service("shop", "v1", id)
		s.Nodes[0].Address = address
		return s
	}
	var alive, all []string
	for i := range 12 {
		id := fmt.Sprintf("alive%02d", i)
		alive = append(alive, id)
		register(t, r, node(id, l.Addr().String()))
	}
	for _, id := range []string{"dead1", "dead2", "leaves1", "leaves2", "single"} {
		register(t, r, node(id, "127.0.0.1:1"))
	}
	all = slices.Concat(alive, []string{"dead1", "dead2", "leaves1", "leaves2", "single"})
	c := start(t, r, regcache.Resync(50*time.Millisecond), regcache.Beat(beat))
	eventually(t, c, "shop", all...)
	begun := time.Now()
	rpctest.Eventually(t, "the window of the first watcher is over", func() bool { return time.Since(begun) > 50*time.Millisecond })

	deregister(t, r, node("single", ""))
	eventually(t, c, "shop", slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "single" })...)
	for quiet := time.Now(); time.Since(quiet) < 2*beat; time.Sleep(time.Millisecond) {
		continue
	}

	for _, id := range []string{"leaves1", "leaves2"} {
		s := node(id, "127.0.0.1:1")
		s.Nodes[0] = regcache.Drain(s.Nodes[0])
		register(t, r, s)
		deregister(t, r, s)
	}
	ended := time.Now()
	for _, id := range append(slices.Clone(alive[:6]), "dead1", "dead2") {
		deregister(t, r, node(id, ""))
	}
	eventually(t, c, "shop", alive...)
	for time.Since(ended) < 10*beat {
		if got := ids(c, "shop"); !slices.Equal(got, alive) {
			t.Fatalf("after %v: %v", time.Since(ended), got)
		}
		time.Sleep(time.Millisecond)
	}
	register(t, r, node(alive[0], l.Addr().String()))
	eventually(t, c, "shop", append([]string{alive[0]}, alive[6:]...)...)
	if took := time.Since(ended); took < 15*beat {
		t.Errorf("they were gone after %v", took)
	}
}
