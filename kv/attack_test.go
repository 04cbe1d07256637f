package kv_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	pb "github.com/micro/go-platform/kv/proto"
)

// A node that is not in the registry is not a member, however often it says so by
// topic and by probe.
func TestForgedAnnouncement(t *testing.T) {
	c := newCluster(t, rpctest.GRPC)
	all := c.members(2)
	rogue := rpctest.New(t) // another registry: what it serves is not in ours
	s := rogue.Server(rpctest.GRPC, "shop")
	bad := kv.NewKV(kv.Server(s), kv.Client(rogue.Client(rpctest.GRPC)), kv.Logger(rogue.Logger))
	if err := bad.Start(); err != nil {
		t.Fatal(err)
	}
	rogue.Start(s)
	t.Cleanup(func() { _ = bad.Stop() })

	self := &pb.Member{Id: "shop-" + s.Options().Id, Address: s.Options().Address, Incarnation: 1 << 60}
	said := &pb.ProbeRequest{Namespace: kv.DefaultNamespace, Self: self, Members: []*pb.Member{self}}
	body, err := proto.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	svc := pb.NewKVService("shop", c.net.Client(rpctest.GRPC))
	address := all[0].server.Options().Address
	for range 20 {
		if err := c.net.Broker.Publish(kv.GossipTopic, &broker.Message{Body: body}); err != nil {
			t.Fatal(err)
		}
		if _, err := svc.Probe(context.Background(), said, client.WithAddress(address)); err != nil {
			t.Fatal(err)
		}
	}
	// A member's death is believed from nobody either.
	victim := &pb.Member{Id: "shop-" + all[1].server.Options().Id, Incarnation: 1 << 62, Gone: true}
	if _, err := svc.Probe(context.Background(), &pb.ProbeRequest{Namespace: kv.DefaultNamespace, Self: victim, Members: []*pb.Member{victim}}, client.WithAddress(address)); err != nil {
		t.Fatal(err)
	}
	put(t, all[0], 50)
	rsp, err := svc.Probe(context.Background(), &pb.ProbeRequest{Namespace: kv.DefaultNamespace}, client.WithAddress(address))
	if err != nil || len(rsp.Members) != 1 || rsp.Members[0].Gone {
		t.Fatalf("%v, %v: want the one other member", rsp, err)
	}
	have(t, all[1], 50)
}

func TestOtherNamespacesAreForbidden(t *testing.T) {
	c := newCluster(t, rpctest.GRPC)
	m := c.members(1)[0]
	put(t, m, 1)
	svc, at, ctx := pb.NewKVService("shop", c.net.Client(rpctest.GRPC)), client.WithAddress(m.server.Options().Address), context.Background()
	rsp, err := svc.Get(ctx, &pb.GetRequest{Key: "key0"}, at)
	if err != nil || string(rsp.Item.Value) != "0" {
		t.Fatalf("%v, %v", rsp, err)
	}
	for name, f := range map[string]func() error{
		"Get": func() error { _, err := svc.Get(ctx, &pb.GetRequest{Key: "key0", Namespace: "x"}, at); return err },
		"Put": func() error {
			_, err := svc.Put(ctx, &pb.PutRequest{Item: &pb.Item{Key: "k"}, Namespace: "x"}, at)
			return err
		},
		"Del":      func() error { _, err := svc.Del(ctx, &pb.DelRequest{Key: "key0", Namespace: "x"}, at); return err },
		"Probe":    func() error { _, err := svc.Probe(ctx, &pb.ProbeRequest{Namespace: "x"}, at); return err },
		"Exchange": func() error { _, err := svc.Exchange(ctx, &pb.ExchangeRequest{Namespace: "x"}, at); return err },
	} {
		if code := call.Code(f()); code != 403 {
			t.Errorf("%s: %d, want 403", name, code)
		}
	}
	_, err = svc.Get(ctx, &pb.GetRequest{Key: "nothing"}, at)
	if e := merrors.FromError(err); e.Code != 404 {
		t.Errorf("%v, want 404", err)
	}
	for name, ops := range map[string][]*pb.Op{
		"no record": {{}}, "no key": {{Record: &pb.Record{}}},
		"large": {{Record: &pb.Record{Key: []byte("k"), Value: make([]byte, kv.MaxValue+1)}}},
	} {
		if _, err := svc.Exchange(ctx, &pb.ExchangeRequest{Namespace: kv.DefaultNamespace, Ops: ops}, at); call.Code(err) != 400 {
			t.Errorf("%s: %v, want 400", name, err)
		}
	}
	if _, err := svc.Put(ctx, &pb.PutRequest{Item: &pb.Item{Key: "k", Expiration: 1 << 62}}, at); call.Code(err) != 400 {
		t.Errorf("expiration: %v, want 400", err)
	}
}

// history records what clients saw of one key, for a linearizability checker.
type history struct {
	mu     sync.Mutex
	began  time.Time
	events []porcupine.Operation
}

type action struct {
	write bool
	value string
}

func (h *history) do(id int, a action, f func() (string, error)) {
	begin := time.Since(h.began).Nanoseconds()
	value, err := f()
	end := time.Since(h.began).Nanoseconds()
	if err != nil {
		if !a.write {
			return
		}
		end = 1 << 62 // it may still happen
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, porcupine.Operation{ClientId: id, Input: a, Output: value, Call: begin, Return: end})
}

var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		a := input.(action)
		if a.write {
			return true, a.value
		}
		return output == state, state
	},
}

// grows waits until each history has so many operations more.
func grows(t *testing.T, keys []*history, more int) {
	t.Helper()
	for n, h := range keys {
		count := func() int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.events)
		}
		want := count() + more
		rpctest.Eventually(t, fmt.Sprintf("key %d is used", n), func() bool { return count() >= want })
	}
}

// check judges what was seen of a key. A history that cannot be decided in time
// shows nothing, and is too long.
func (h *history) check(tb testing.TB, key string) {
	tb.Helper()
	if result := porcupine.CheckOperationsTimeout(register, h.events, time.Minute); result != porcupine.Ok {
		tb.Errorf("%s: %d operations that a single machine could have shown: %s", key, len(h.events), result)
	}
}

// Members come, go and die while others read and write one set of keys: what is
// seen of each key could have been seen on one machine. With a single replica
// what is on a dead member is lost, so that nobody dies.
func TestLinearizable(t *testing.T) {
	for _, replicas := range []int{3, 1} {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			c := newCluster(t, rpctest.GRPC, kv.Timeout(3*time.Second), kv.Replicas(replicas))
			if replicas == 1 { // a member removed by mistake is lost
				c.opts = append(c.opts, kv.Suspicion(5*time.Second))
			}
			all := c.members(4)
			keys := make([]*history, 4)
			for i := range keys {
				keys[i] = &history{began: time.Now()}
			}
			end := use(all[:3], keys)
			grows(t, keys, 10)
			joined := c.member()
			kv.AwaitStable(t, all[0].KV, 5)
			if replicas > 1 {
				kv.Kill(all[3].KV)
			} else {
				all[3].leave()
			}
			kv.AwaitStable(t, all[0].KV, 4)
			joined.leave()
			kv.AwaitStable(t, all[0].KV, 3)
			grows(t, keys, 10)
			end()
			for n, h := range keys {
				h.check(t, fmt.Sprint("shared", n))
			}
		})
	}
}

// use has two callers of each member read and write the keys until end is called.
func use(all []*member, keys []*history) (end func()) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for id := range 2 * len(all) {
		wg.Go(func() {
			k := all[id%len(all)]
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Millisecond): // the checker's work grows with the load
				}
				n := (id + i) % len(keys)
				_ = keys[n].access(k, id, fmt.Sprint("shared", n), fmt.Sprint(id, ".", i), (id+i/len(keys))%3 == 0) // the history has it
			}
		})
	}
	return func() { close(stop); wg.Wait() }
}
