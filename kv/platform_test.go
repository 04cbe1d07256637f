package kv_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/kvtest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// cluster are members of one service.
type cluster struct {
	tb    testing.TB
	net   *rpctest.Net
	stack string
	opts  []kv.Option
	edit  func(k kv.KV) // before a member starts
}

func newCluster(tb testing.TB, stack string, opts ...kv.Option) *cluster {
	return &cluster{tb, rpctest.New(tb), stack, append([]kv.Option{kv.Suspicion(time.Second), kv.Timeout(5 * time.Second)}, opts...), nil}
}

// member is one instance; it ends with the test.
type member struct {
	kv.KV
	server server.Server
	leave  func() // before the test ends
}

func (c *cluster) member(opts ...kv.Option) *member {
	c.tb.Helper()
	return c.memberOn(c.net.Server(c.stack, "shop"), opts...)
}

func (c *cluster) memberOn(s server.Server, opts ...kv.Option) *member {
	c.tb.Helper()
	all := append([]kv.Option{kv.Server(s), kv.Client(c.net.Client(c.stack)), kv.Logger(c.net.Logger)}, c.opts...)
	m := &member{KV: kv.NewKV(append(all, opts...)...), server: s}
	if c.edit != nil {
		c.edit(m.KV)
	}
	if err := m.Start(); err != nil {
		c.tb.Fatal(err)
	}
	stop := c.net.Start(s)
	m.leave = sync.OnceFunc(func() {
		if err := m.Stop(); err != nil {
			c.tb.Error(err)
		}
		stop()
	})
	c.tb.Cleanup(m.leave)
	return m
}

// client returns a KV whose server never starts: it only asks the members.
func (c *cluster) client(wrappers ...client.Wrapper) kv.KV {
	c.tb.Helper()
	k := kv.NewKV(append([]kv.Option{kv.Server(c.net.Server(c.stack, "shop")), kv.Client(c.net.Client(c.stack, wrappers...)), kv.Logger(c.net.Logger)}, c.opts...)...)
	if err := k.Start(); err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() {
		if err := k.Stop(); err != nil {
			c.tb.Error(err)
		}
	})
	return k
}

func (c *cluster) members(n int) (all []*member) {
	c.tb.Helper()
	for range n {
		all = append(all, c.member())
	}
	for _, m := range all {
		kv.AwaitStable(c.tb, m.KV, n)
	}
	return all
}

// The suite on a member that is alone.
func TestSuiteAlone(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		n := func(tb testing.TB, opts ...kv.Option) kv.KV {
			c := newCluster(tb, stack)
			s := c.net.Server(stack, "shop")
			if stack == rpctest.GRPC {
				c.net.Start(s)
			}
			return kv.NewKV(append([]kv.Option{kv.Server(s), kv.Client(c.net.Client(stack)), kv.Logger(c.net.Logger)}, opts...)...)
		}
		kvtest.Run(t, n)
		t.Run("Many", func(t *testing.T) { kvtest.RunMany(t, n) })
		t.Run("Fence", func(t *testing.T) { kvtest.RunFence(t, n) })
	})
}

// led is a member with others.
type led struct {
	kv.KV
	others []kv.KV
}

func (l *led) Start() error {
	if err := l.KV.Start(); err != nil {
		return err
	}
	return l.all(kv.KV.Start)
}

func (l *led) Stop() error { return errors.Join(l.KV.Stop(), l.all(kv.KV.Stop)) }

func (l *led) all(do func(kv.KV) error) (err error) {
	for _, k := range l.others {
		err = errors.Join(err, do(k))
	}
	return err
}

type ledMany struct {
	*led
	kv.Many
}

// The suite on a member of five.
func TestSuiteOfFive(t *testing.T) {
	n := func(tb testing.TB, opts ...kv.Option) kv.KV {
		net := rpctest.New(tb)
		l := &led{}
		for i := range 5 {
			s := net.Server(rpctest.GRPC, "shop")
			net.Start(s)
			k := kv.NewKV(append([]kv.Option{kv.Server(s), kv.Client(net.Client(rpctest.RPC)), kv.Logger(net.Logger), kv.Suspicion(2 * time.Second)}, opts...)...)
			if i == 0 {
				l.KV = k
			} else {
				l.others = append(l.others, k)
			}
		}
		return ledMany{l, l.KV.(kv.Many)}
	}
	kvtest.Run(t, n)
	t.Run("Many", func(t *testing.T) { kvtest.RunMany(t, n) })
	t.Run("Fence", func(t *testing.T) { kvtest.RunFence(t, n) })
}

func put(tb testing.TB, k kv.KV, n int) {
	tb.Helper()
	for i := range n {
		if err := k.Put(&kv.Item{Key: fmt.Sprint("key", i), Value: fmt.Append(nil, i)}); err != nil {
			tb.Fatal(err)
		}
	}
}

func have(tb testing.TB, k kv.KV, n int) {
	tb.Helper()
	for i := range n {
		if item, err := k.Get(fmt.Sprint("key", i)); err != nil || string(item.Value) != fmt.Sprint(i) {
			tb.Fatalf("key%d: %+v, %v", i, item, err)
		}
	}
}

// With a single replica only the hand-over keeps anything.
func TestJoinAndLeaveHandOver(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		c := newCluster(t, stack, kv.Replicas(1), kv.Suspicion(5*time.Second)) // a member removed by mistake is lost
		a := c.member()
		put(t, a, 300)
		b, d := c.member(), c.member()
		for _, m := range []*member{a, b, d} {
			kv.AwaitStable(t, m.KV, 3)
			have(t, m, 300)
		}
		a.leave()
		have(t, b, 300)
		b.leave()
		have(t, d, 300)
	})
}

// Members that started a moment ago see what each other acknowledged.
func TestTheFirstCallsAgree(t *testing.T) {
	for range 5 {
		c := newCluster(t, rpctest.GRPC)
		all := []*member{c.member(), c.member(), c.member()}
		for i, m := range all {
			if err := m.Put(&kv.Item{Key: fmt.Sprint("of", i), Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range all {
			for j, m := range all {
				if _, err := m.Get(fmt.Sprint("of", i)); err != nil {
					t.Fatalf("what %d put, at %d: %v", i, j, err)
				}
			}
		}
	}
}

func TestADeadMemberCostsNothing(t *testing.T) {
	c := newCluster(t, rpctest.GRPC)
	all := c.members(4)
	put(t, all[0], 300)
	kv.Kill(all[3].KV)
	have(t, all[0], 300)
	put(t, all[1], 300)
	for _, m := range all[:3] {
		kv.AwaitStable(t, m.KV, 3) // removed, and its items are on others
	}
	kv.Kill(all[2].KV)
	have(t, all[0], 300)
}

// Two of three are dead before anybody was removed: the last one cannot know
// whether it is itself cut off.
func TestAMinorityRefuses(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Timeout(2*time.Second))
	all := c.members(3)
	put(t, all[0], 10)
	kv.Kill(all[1].KV)
	kv.Kill(all[2].KV)
	_, err := all[0].Get("key1")
	if !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if err := all[0].Put(&kv.Item{Key: "key1"}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	if err := all[0].Del("key1"); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("del: %v", err)
	}
	kv.Kill(all[0].KV) // no member is left that could take its items
}
