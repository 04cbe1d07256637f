package kv_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

// routes lead the members of several sides to each member by links of their own.
type routes struct {
	side  map[string]int // of a member, by its address
	links []map[string]*netcut.Proxy
}

func newRoutes(tb testing.TB, sides map[string]int) *routes {
	r := &routes{side: sides, links: make([]map[string]*netcut.Proxy, 1+slices.Max(slices.Collect(maps.Values(sides))))}
	for from := range r.links {
		r.links[from] = make(map[string]*netcut.Proxy)
		for address := range sides {
			r.links[from][address] = netcut.New(tb, address)
		}
	}
	return r
}

// between does something to the links of two sides to each other.
func (r *routes) between(a, b int, do func(*netcut.Proxy)) {
	for address, side := range r.side {
		if side == a {
			do(r.links[b][address])
		} else if side == b {
			do(r.links[a][address])
		}
	}
}

// split returns a place for a member of each side, and how they reach each other.
func (c *cluster) split(sides ...int) (*routes, []net.Listener) {
	at, listeners := make(map[string]int), make([]net.Listener, len(sides))
	for i, side := range sides {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			c.tb.Fatal(err)
		}
		c.tb.Cleanup(func() { _ = l.Close() }) // unless a server did
		listeners[i], at[l.Addr().String()] = l, side
	}
	return newRoutes(c.tb, at), listeners
}

// memberAt returns a member at one of the places.
func (c *cluster) memberAt(r *routes, l net.Listener, opts ...kv.Option) *member {
	side := r.side[l.Addr().String()]
	cl := c.net.Client(c.stack, func(inner client.Client) client.Client { return &routed{inner, r, side} })
	return c.memberOn(c.net.Server(c.stack, "shop", mgrpc.Listener(l)), append(opts, kv.Client(cl))...)
}

// routed is the client of a member of one side.
type routed struct {
	client.Client
	routes *routes
	side   int
}

func (c *routed) reroute(opts []client.CallOption) []client.CallOption {
	return append(slices.Clone(opts), func(o *client.CallOptions) {
		o.Address = slices.Clone(o.Address) // the option is used by other calls, too
		for i, address := range o.Address {
			o.Address[i] = c.routes.links[c.side][address].Addr
		}
	})
}

func (c *routed) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(ctx, req, rsp, c.reroute(opts)...)
}

func (c *routed) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return c.Client.Stream(ctx, req, c.reroute(opts)...)
}

// Two members of five are cut off from the other three, from one of them a moment
// after the rest, while callers on both sides go on.
func TestPartition(t *testing.T) {
	const suspicion = 2 * time.Second
	c := newCluster(t, rpctest.GRPC, kv.Timeout(3*time.Second), kv.Suspicion(suspicion))
	r, places := c.split(0, 0, 1, 2, 2)
	var all []*member
	for _, l := range places {
		all = append(all, c.memberAt(r, l))
	}
	minority, majority := all[:2], all[2:]
	for _, m := range all {
		kv.AwaitStable(t, m.KV, 5)
	}
	put(t, all[0], 100)

	// Keys of which most owners are on the larger side: of the others, what was
	// acknowledged last is lost with their owners.
	var names []string
	for i := 0; len(names) < 3; i++ {
		if key := fmt.Sprint("shared", i); kv.Owned(key, all[2].KV, all[3].KV, all[4].KV) >= 2 {
			names = append(names, key)
		}
	}
	keys := []*history{{began: time.Now()}, {began: time.Now()}, {began: time.Now()}}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var refused atomic.Int64
	for id, m := range all {
		wg.Go(func() {
			pause := 5 * time.Millisecond
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(pause):
				}
				n := (id + i) % len(keys)
				err := keys[n].access(m, id, names[n], fmt.Sprint(id, ".", i), (id+i/len(keys))%3 == 0)
				pause = 5 * time.Millisecond
				if err != nil {
					pause = 300 * time.Millisecond // writes that may have been are dear to check
				}
				if err != nil && id < len(minority) {
					refused.Add(1)
				}
			}
		})
	}
	grows(t, keys, 10)
	r.between(0, 2, (*netcut.Proxy).Cut)
	time.Sleep(suspicion / 10)
	r.between(0, 1, (*netcut.Proxy).Cut)
	for _, m := range majority {
		kv.AwaitStable(t, m.KV, 3)
	}
	for i, m := range minority {
		refuses(t, fmt.Sprint("member ", i), m)
	}
	put(t, majority[0], 200)
	have(t, majority[1], 200)
	r.between(0, 1, (*netcut.Proxy).Heal)
	r.between(0, 2, (*netcut.Proxy).Heal)
	for _, m := range append(majority, minority...) { // these still have the view of before
		kv.AwaitStable(t, m.KV, 5)
	}
	for _, m := range all {
		have(t, m, 200)
	}
	grows(t, keys, 10)
	close(stop)
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("the smaller side answered all along")
	}
	for n, h := range keys {
		h.check(t, names[n])
	}
}

// refuses checks that a member answers for no slot, not even for those whose
// owners are all on its side.
func refuses(t *testing.T, who string, k kv.KV) {
	t.Helper()
	for i := range 40 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if item, err := k.Get(fmt.Sprint("key", i), kv.WithContext(ctx)); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("get of %s: %+v, %v", who, item, err)
		}
		cancel()
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		if err := k.Put(&kv.Item{Key: fmt.Sprint("key", i)}, kv.WithContext(ctx)); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("put of %s: %v", who, err)
		}
		cancel()
	}
}

// access reads or writes a key, which some writes delete, and records what was
// seen.
func (h *history) access(k kv.KV, id int, key, value string, write bool) (failed error) {
	if write && value[len(value)-1]%4 == 0 {
		h.do(id, action{true, ""}, func() (string, error) {
			failed = k.Del(key)
			return "", failed
		})
		return failed
	}
	if write {
		h.do(id, action{true, value}, func() (string, error) {
			failed = k.Put(&kv.Item{Key: key, Value: []byte(value)})
			return "", failed
		})
		return failed
	}
	h.do(id, action{}, func() (string, error) {
		item, err := k.Get(key)
		if errors.Is(err, kv.ErrNotFound) {
			return "", nil
		}
		if failed = err; err != nil {
			return "", err
		}
		return string(item.Value), nil
	})
	return failed
}

// Two members that do not reach each other hear of each other by the rest: the
// view is stable for them, too, and nobody answers from one that is over.
func TestTwoThatDoNotReachEachOther(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Timeout(3*time.Second), kv.Suspicion(2*time.Second))
	r, places := c.split(0, 1, 2, 2, 2)
	b, e, rest := c.memberAt(r, places[0]), c.memberAt(r, places[1]), c.memberAt(r, places[2])
	for _, m := range []*member{b, e, rest} {
		kv.AwaitStable(t, m.KV, 3)
	}
	put(t, b, 100)
	r.between(0, 1, (*netcut.Proxy).Cut)
	joined := []*member{c.memberAt(r, places[3]), c.memberAt(r, places[4])}
	all := append([]*member{b, e, rest}, joined...)
	for _, m := range all {
		kv.AwaitStable(t, m.KV, 5)
	}
	put(t, rest, 200)
	for _, m := range all {
		have(t, m, 200)
	}
	for i := range 200 { // what b and e, which were owners before, could miss
		if err := rest.Put(&kv.Item{Key: fmt.Sprint("key", i), Value: []byte("newer")}); err != nil {
			t.Fatal(err)
		}
	}
	r.between(0, 1, (*netcut.Proxy).Heal)
	for _, m := range joined {
		m.leave()
	}
	for _, m := range []*member{b, e} {
		for i := range 200 {
			if item, err := m.Get(fmt.Sprint("key", i)); err != nil || string(item.Value) != "newer" {
				t.Fatalf("key%d: %+v, %v", i, item, err)
			}
		}
	}
}

// One of three is cut off, and two that come then reach only this one: three of five
// are no majority of the three that were, and the other two go on.
func TestPartitionWithJoiners(t *testing.T) {
	const suspicion = 2 * time.Second
	c := newCluster(t, rpctest.GRPC, kv.Timeout(3*time.Second), kv.Suspicion(suspicion))
	r, places := c.split(0, 1, 1, 0, 0)
	var all []*member
	for _, l := range places[:3] {
		all = append(all, c.memberAt(r, l))
	}
	for _, m := range all {
		kv.AwaitStable(t, m.KV, 3)
	}
	put(t, all[0], 20)
	r.between(0, 1, (*netcut.Proxy).Cut)
	for _, l := range places[3:] {
		all = append(all, c.memberAt(r, l))
	}
	for _, m := range all[1:3] {
		kv.AwaitStable(t, m.KV, 2)
	}
	for i := range 20 { // while the others have had the time for removals, too
		rpctest.Eventually(t, "a put of the larger side", func() bool {
			return all[1].Put(&kv.Item{Key: fmt.Sprint("key", i), Value: []byte("newer")}) == nil
		})
	}
	for _, m := range []*member{all[0], all[3], all[4]} {
		for _, key := range []string{"key1", "key2"} {
			ctx, cancel := context.WithTimeout(context.Background(), suspicion)
			if item, err := m.Get(key, kv.WithContext(ctx)); !errors.Is(err, kv.ErrUnavailable) {
				t.Errorf("get of the side that is cut off: %+v, %v", item, err)
			}
			cancel()
		}
	}
	r.between(0, 1, (*netcut.Proxy).Heal)
	for _, m := range all {
		kv.AwaitStable(t, m.KV, 5)
	}
	for _, m := range all {
		for i := range 20 {
			if item, err := m.Get(fmt.Sprint("key", i)); err != nil || string(item.Value) != "newer" {
				t.Fatalf("key%d: %+v, %v", i, item, err)
			}
		}
	}
}
