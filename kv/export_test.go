package kv

import (
	"context"
	"testing"
	"time"

	pb "github.com/micro/go-platform/kv/proto"
)

// AwaitStable waits until k sees n members that agree.
func AwaitStable(tb testing.TB, k KV, n int) {
	tb.Helper()
	p := k.(*platform)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if v := p.view.Load(); v != nil && v.stable && len(v.nodes) == n {
			return
		}
	}
	v := p.view.Load()
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	for id, m := range p.members.all {
		tb.Logf("%s: %+v", id, *m)
	}
	tb.Fatalf("not %d stable members: view %x of %d, %+v, stable %v", n, v.digest, len(v.nodes), p.members.own, v.stable)
}

// AwaitJoined waits until k knows that it is in the registry.
func AwaitJoined(tb testing.TB, k KV) {
	tb.Helper()
	p := k.(*platform)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if self, _ := p.members.message(nil); !self.Gone {
			return
		}
	}
	tb.Fatal("not in the registry")
}

// Kill makes k as silent as a process that died: it answers nobody.
func Kill(k KV) { k.(*platform).end() }

// Owners returns the ring's look-up.
func Owners(names []string, replicas int) func(key string) []uint16 {
	r := newRing(names, replicas)
	return func(key string) []uint16 { return r.of(slotOf(key)) }
}

// LinkAge makes k renew its links so often.
func LinkAge(k KV, age time.Duration) { k.(*platform).linkAge = age }

// Linked returns how many members k has a link to.
func Linked(k KV) (n int) {
	p := k.(*platform)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, to := range p.peers {
		to.mu.Lock()
		if to.link != nil {
			n++
		}
		to.mu.Unlock()
	}
	return n
}

// Owned returns how many of the members own the key.
func Owned(key string, members ...KV) (n int) {
	for _, k := range members {
		if v := k.(*platform).view.Load(); v.ring.owns(slotOf(key), v.self) {
			n++
		}
	}
	return n
}

// Exchange has a member answer a request of another.
func Exchange(k KV, req *pb.ExchangeRequest) (*pb.ExchangeResponse, error) {
	rsp := &pb.ExchangeResponse{}
	return rsp, (&handler{k.(*platform)}).Exchange(context.Background(), req, rsp)
}
