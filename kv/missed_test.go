package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	pb "github.com/micro/go-platform/kv/proto"
)

// deaf is a client without links whose operations do not arrive at some
// addresses, while probes do.
type deaf struct {
	client.Client
	to *sync.Map
}

func (d *deaf) Stream(context.Context, client.Request, ...client.CallOption) (client.Stream, error) {
	return nil, merrors.New("shop", "told to", 501)
}

func (d *deaf) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	var o client.CallOptions
	for _, opt := range opts {
		opt(&o)
	}
	_, lost := d.to.Load(slices.Concat(o.Address, []string{""})[0])
	if lost && strings.HasSuffix(req.Endpoint(), "Exchange") {
		return merrors.New("shop", "lost", 503)
	}
	return d.Client.Call(ctx, req, rsp, opts...)
}

// deafened are members of which operations of all do not arrive at those that are
// in lost.
func (c *cluster) deafened(n int, edit func(kv.KV)) (all []*member, lost *sync.Map) {
	c.tb.Helper()
	lost = &sync.Map{}
	c.edit = edit
	for range n {
		cl := c.net.Client(c.stack, func(inner client.Client) client.Client { return &deaf{inner, lost} })
		all = append(all, c.member(kv.Client(cl)))
	}
	for _, m := range all {
		kv.AwaitStable(c.tb, m.KV, n)
	}
	return all, lost
}

func (m *member) address() string { return m.server.Options().Address }

func keyed(i int) string { return fmt.Sprint("key", i) }

// missing returns members that all have a value, which is then changed for all but
// the last.
func missing(t *testing.T, edit func(kv.KV), change func(k kv.KV) error) (all []*member, lost *sync.Map) {
	t.Helper()
	all, lost = newCluster(t, rpctest.GRPC).deafened(3, edit)
	if err := all[0].Put(&kv.Item{Key: "key", Value: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "all have it", func() bool { return kv.Kept(all[2].KV, "key") == "old" })
	lost.Store(all[2].address(), true)
	if err := change(all[0]); err != nil {
		t.Fatal(err)
	}
	return all, lost
}

// What an owner missed it gets though nobody reads it.
func TestMissedWritesAreOfferedAgain(t *testing.T) {
	all, lost := missing(t, nil, func(k kv.KV) error { return k.Put(&kv.Item{Key: "key", Value: []byte("new")}) })
	if has := kv.Kept(all[2].KV, "key"); has != "old" {
		t.Fatalf("it was to miss the write, and has %q", has)
	}
	lost.Clear()
	rpctest.Eventually(t, "it gets what it missed", func() bool { return kv.Kept(all[2].KV, "key") == "new" })
}

// What was deleted, or replaced by something that expired, is not forgotten while
// an owner has the value of before.
func TestWhatIsGoneDoesNotComeBack(t *testing.T) {
	for name, change := range map[string]func(k kv.KV) error{
		"deleted": func(k kv.KV) error { return k.Del("key") },
		"expired": func(k kv.KV) error {
			return k.Put(&kv.Item{Key: "key", Value: []byte("new"), Expiration: 50 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			all, lost := missing(t, func(k kv.KV) { kv.Retention(k, 0) }, change)
			rpctest.Eventually(t, "it is gone", func() bool {
				return kv.Kept(all[0].KV, "key") == "gone" && kv.Kept(all[1].KV, "key") == "gone"
			})
			for range 2 {
				kv.Reap(all[0].KV)
				kv.Reap(all[1].KV)
			}
			if has := kv.Kept(all[2].KV, "key"); has != "old" {
				t.Fatalf("it was to miss the change, and has %q", has)
			}
			if kv.Kept(all[0].KV, "key") != "gone" || kv.Kept(all[1].KV, "key") != "gone" {
				t.Error("it was forgotten while an owner has the value of before")
			}
			// That owner gets it before the others forget it.
			lost.Clear()
			kv.Reap(all[0].KV)
			if has := kv.Kept(all[2].KV, "key"); has != "gone" {
				t.Errorf("the last owner has %q", has)
			}
			for _, m := range all {
				kv.Reap(m.KV)
			}
			for i, m := range all {
				if has := kv.Kept(m.KV, "key"); has != "" {
					t.Errorf("member %d still has %q", i, has)
				}
				if item, err := m.Get("key"); !errors.Is(err, kv.ErrNotFound) {
					t.Errorf("member %d: %+v, %v", i, item, err)
				}
			}
		})
	}
}

// Those that are left have all that was acknowledged, also what they had missed.
func TestScaleIn(t *testing.T) {
	for _, n := range []int{3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, rpctest.GRPC, kv.Replicas(n))
			all, lost := c.deafened(n, func(k kv.KV) { kv.Retention(k, 0) })
			left := all[n/2+1:]
			for _, m := range left {
				lost.Store(m.address(), true)
			}
			const items = 100
			put(t, all[0], items)
			for _, m := range left {
				if has := kv.Kept(m.KV, keyed(1)); has != "" {
					t.Fatalf("it was to miss the writes, and has %q", has)
				}
			}
			lost.Clear()
			for _, m := range all[:n/2+1] {
				m.leave()
			}
			for _, m := range left {
				kv.AwaitStable(t, m.KV, len(left))
				have(t, m, items)
			}
		})
	}
}

// What comes in another view is not taken: it could be dropped again as if it
// were not this member's.
func TestOtherViewsAreRefused(t *testing.T) {
	k := newCluster(t, rpctest.GRPC).members(1)[0]
	rsp, err := kv.Exchange(k.KV, &pb.ExchangeRequest{Namespace: kv.DefaultNamespace, View: kv.Digest(k.KV) + 1, Ops: []*pb.Op{
		{Kind: pb.Op_WRITE, Record: &pb.Record{Key: []byte("key"), Value: []byte("x"), Version: &pb.Version{Count: 1}}},
	}})
	if err != nil || !rsp.OtherView || kv.Kept(k.KV, "key") != "" {
		t.Errorf("%v, %v, kept %q", rsp, err, kv.Kept(k.KV, "key"))
	}
}
