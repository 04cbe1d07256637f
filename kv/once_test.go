package kv_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	pb "github.com/micro/go-platform/kv/proto"
)

// forgetful is a client that loses the answer to its first write, and then does
// something else.
type forgetful struct {
	deaf
	once *sync.Once
	then func()
}

func (f *forgetful) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	err := f.deaf.Call(ctx, req, rsp, opts...)
	said, ok := req.Body().(*pb.ExchangeRequest)
	if !ok || said.Ops[0].Kind != pb.Op_WRITE {
		return err
	}
	f.once.Do(func() {
		f.then()
		err = merrors.New("shop", "the answer is lost", 503)
	})
	return err
}

// A write that was done takes no effect again when it is tried again.
func TestAWriteTakesEffectOnce(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			c := newCluster(t, rpctest.GRPC, kv.Replicas(replicas), kv.Suspicion(5*time.Second))
			owner := c.members(1)[0]
			lose := func(inner client.Client) client.Client {
				return &forgetful{deaf{inner, &sync.Map{}}, &sync.Once{}, func() {
					if err := owner.Put(&kv.Item{Key: "key", Value: []byte("y")}); err != nil {
						t.Error(err)
					}
				}}
			}
			k := c.client(lose)
			if err := k.Put(&kv.Item{Key: "key", Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			if item, err := owner.Get("key"); err != nil || string(item.Value) != "y" {
				t.Errorf("%+v, %v: want what was written last", item, err)
			}
		})
	}
}

// Members that were given other options are named.
func TestOtherOptionsAreLogged(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Timeout(time.Second))
	c.members(1)
	log := &rpctest.Buffer{}
	odd := c.member(kv.Logger(slog.New(slog.NewTextHandler(log, nil))), kv.Suspicion(2*time.Second), kv.Replicas(2), kv.Quorum(2, 2))
	rpctest.Eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "other options") })
	for _, name := range []string{"Suspicion", "Replicas", "Quorum read", "Quorum write"} {
		if strings.Count(log.String(), name) != 1 {
			t.Errorf("%s is not named once in %s", name, log.String())
		}
	}
	kv.Kill(odd.KV) // nobody takes what it has
}

// Many keys take one call to each member.
func TestGetManyAsksEachMemberOnce(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Suspicion(5*time.Second))
	s := &seen{refuse: merrors.New("shop", "told to", 501)}
	for range 3 {
		c.memberOn(c.net.Server(rpctest.GRPC, "shop", server.WrapHandler(s.wrap)))
	}
	k := c.client()
	kv.AwaitStable(t, k, 3)
	put(t, k, 100)
	var keys []string
	for i := range 100 {
		keys = append(keys, keyed(i))
	}
	rpctest.Eventually(t, "one call to each", func() bool { // a slow answer is asked for again
		before := s.exchange.Load()
		items, err := k.(kv.Many).GetMany(keys)
		if err != nil || len(items) != 100 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		return s.exchange.Load()-before <= 3
	})
}

// GetMany says as Get does that there is nobody to ask.
func TestGetManyWithoutMembers(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Timeout(300*time.Millisecond))
	all := c.members(1)
	k := c.client()
	put(t, k, 1)
	all[0].leave()
	rpctest.Eventually(t, "they fail alike", func() bool {
		_, one := k.Get(keyed(0))
		_, many := k.(kv.Many).GetMany([]string{keyed(0)})
		return errors.Is(one, kv.ErrUnavailable) == errors.Is(many, kv.ErrUnavailable)
	})
}

// One answer is enough, also where it has to come from another member.
func TestOneAnswer(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Quorum(1, 2), kv.Replicas(2))
	all := c.members(4)
	put(t, all[0], 100)
	for _, m := range all {
		have(t, m, 100)
	}
	kv.Kill(all[3].KV)
	for _, m := range all[:3] {
		have(t, m, 100)
		kv.AwaitStable(t, m.KV, 3)
		have(t, m, 100)
	}
}

// What is left of its time goes with an item to a new owner.
func TestExpirationIsHandedOver(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Replicas(1))
	a := c.members(1)[0]
	for i := range 50 {
		if err := a.Put(&kv.Item{Key: keyed(i), Value: []byte("x"), Expiration: 3 * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	b := c.member()
	kv.AwaitStable(t, b.KV, 2)
	moved := 0
	for i := range 50 {
		if kv.Owned(keyed(i), b.KV) == 0 {
			continue
		}
		moved++
		if item, err := b.Get(keyed(i)); err == nil && (item.Expiration <= 0 || item.Expiration > 3*time.Second) {
			t.Errorf("%s has %v", keyed(i), item.Expiration)
		}
		rpctest.Eventually(t, "it expires", func() bool { _, err := b.Get(keyed(i)); return errors.Is(err, kv.ErrNotFound) })
	}
	if moved == 0 {
		t.Error("nothing was handed over")
	}
}

// Stop does not wait for a member that does not answer.
func TestStopIsBounded(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Suspicion(time.Minute), kv.Timeout(time.Minute))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	link := netcut.New(t, l.Addr().String())
	c.memberOn(c.net.Server(rpctest.GRPC, "shop", mgrpc.Listener(l), server.Advertise(link.Addr)))
	k := c.client()
	put(t, k, 1)
	link.Cut()
	done := make(chan error, 1)
	go func() { _, err := k.Get(keyed(0)); done <- err }()
	rpctest.Eventually(t, "it is asked", func() bool { return kv.Asked(k) > 0 })
	stopped := make(chan error, 1)
	go func() { stopped <- k.Stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Logf("stop: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Stop waits for who does not answer")
	}
	if err := <-done; err == nil {
		t.Error("a get of nobody was answered")
	}
	link.Heal()
}

// A lease is as long as the other's patience, and not longer by what it says of
// the future.
func TestTheLeaseIsTheOthers(t *testing.T) {
	for heard, most := range map[int64]time.Duration{0: time.Second, 500: time.Second / 2, -5000: time.Second} {
		said := &pb.ProbeResponse{
			Self: &pb.Member{Id: "other"}, SuspicionMs: 1000,
			Members: []*pb.Member{{Id: "self", HeardMs: heard}},
		}
		if lease := kv.Lease(10*time.Second, said); lease > most {
			t.Errorf("heard %d ms ago: %v, want at most %v", heard, lease, most)
		}
	}
}
