package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

const kvMemberEnv = "GO_PLATFORM_TEST_KV_MEMBER" // "registry address, own address, advertised address"

// ringOpts are those of all members; the suspicion is short so that the tests are.
func ringOpts(reg registry.Registry, s server.Server) (kv.KV, func()) {
	c := rpc.NewClient(rpc.Config{Registry: reg})
	return kv.NewKV(kv.Server(s), kv.Client(c), kv.Suspicion(2*time.Second), kv.Timeout(5*time.Second),
		kv.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))), c.Close
}

// kvMember is what a process of a ring runs until it is told to end.
func kvMember(spec string) error {
	var reg, own, advertised string
	if _, err := fmt.Sscan(spec, &reg, &own, &advertised); err != nil {
		return err
	}
	r := consul.NewConsulRegistry(registry.Addrs(reg))
	brk, err := membroker.New()
	if err != nil {
		return err
	}
	s := mgrpc.NewServer(server.Name("ring"), server.Id(uuid.NewString()), server.Address(own), server.Advertise(advertised),
		server.Registry(r), server.Broker(brk), server.RegisterTTL(30*time.Second), server.RegisterInterval(10*time.Second))
	k, closeClient := ringOpts(r, s)
	defer closeClient()
	if err := errors.Join(k.Start(), s.Start()); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(os.Stderr, "msg=serving") // the test waits for it
	_, _ = io.Copy(io.Discard, os.Stdin)          // its end is the order to end
	return errors.Join(k.Stop(), s.Stop())
}

// kvRing are members in processes of their own, each behind a link that can be
// cut, and clients here that are not members.
type kvRing struct {
	t       *testing.T
	reg     string
	members []*kvProcess
}

type kvProcess struct {
	*rpctest.Program
	link  *netcut.Proxy
	stdin io.Closer
}

func newKVRing(t *testing.T, n int) *kvRing {
	r := &kvRing{t: t, reg: backend.Consul(t).Addr}
	for range n {
		r.join()
	}
	return r
}

func (r *kvRing) join() *kvProcess {
	r.t.Helper()
	own := backend.Address(r.t)
	m := &kvProcess{link: netcut.New(r.t, own)}
	m.Program = &rpctest.Program{TB: r.t, Path: os.Args[0], Args: []string{"-test.run", "^$"}, Env: append(os.Environ(), fmt.Sprintf("%s=%s %s %s", kvMemberEnv, r.reg, own, m.link.Addr)), Piped: &m.stdin}
	m.Start()
	r.t.Cleanup(m.Kill)
	r.members = append(r.members, m)
	return m
}

// client is a KV whose server never starts: it only asks the members.
func (r *kvRing) client() kv.KV {
	r.t.Helper()
	reg := consul.NewConsulRegistry(registry.Addrs(r.reg))
	k, closeClient := ringOpts(reg, mgrpc.NewServer(server.Name("ring"), server.Id(uuid.NewString()), server.Registry(reg)))
	if err := k.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := k.Stop(); err != nil {
			r.t.Error(err)
		}
		closeClient()
	})
	return k
}

// kvClients is how many put a load on a ring.
const kvClients = 3

type kvAction struct {
	write bool
	value string
}

// kvRegister is one key as it would be on one machine.
var kvRegister = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if a := input.(kvAction); a.write {
			return true, a.value
		}
		return output == state, state
	},
}

// kvLoad are clients that read and write shared keys, and put keys of their own
// that must never get lost.
type kvLoad struct {
	mu      sync.Mutex
	began   time.Time
	history [4][]porcupine.Operation
	acked   []string
	tried   int
	stop    chan struct{}
	wg      sync.WaitGroup
}

func startKVLoad(r *kvRing, clients int) *kvLoad {
	l := &kvLoad{began: time.Now(), stop: make(chan struct{})}
	for id := range clients {
		k := r.client()
		l.wg.Go(func() {
			ticker := time.NewTicker(4 * time.Millisecond)
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				case <-ticker.C:
					l.shared(k, id, i)
					l.unique(k, fmt.Sprint("unique", id, ".", i))
				}
			}
		})
	}
	return l
}

func (l *kvLoad) shared(k kv.KV, id, i int) {
	n := (id + i) % len(l.history)
	key, a := fmt.Sprint("shared", n), kvAction{(id+i/4)%3 == 0, fmt.Sprint(id, ".", i)}
	begin, seen := time.Since(l.began), ""
	var err error
	switch {
	case a.write && i%5 == 0:
		a.value = ""
		err = k.Del(key)
	case a.write:
		err = k.Put(&kv.Item{Key: key, Value: []byte(a.value)})
	default:
		var item *kv.Item
		if item, err = k.Get(key); err == nil {
			seen = string(item.Value)
		} else if errors.Is(err, kv.ErrNotFound) {
			err = nil
		}
	}
	op := porcupine.Operation{ClientId: id, Input: a, Output: seen, Call: begin.Nanoseconds(), Return: time.Since(l.began).Nanoseconds()}
	if err != nil && !a.write {
		return
	}
	if err != nil {
		op.Return = 1 << 62 // it may still happen
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history[n] = append(l.history[n], op)
}

func (l *kvLoad) unique(k kv.KV, key string) {
	err := k.Put(&kv.Item{Key: key, Value: []byte(key)})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried++
	if err == nil {
		l.acked = append(l.acked, key)
	}
}

// readBack is patient: a ring under load that does not answer has lost nothing.
func readBack(k kv.KV, key string) (item *kv.Item, err error) {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if item, err = k.Get(key); !errors.Is(err, kv.ErrUnavailable) || time.Now().After(end) {
			return item, err
		}
	}
}

// check ends the load, after so many faults, and judges it.
func (l *kvLoad) check(r *kvRing, faults int) {
	r.t.Helper()
	close(l.stop)
	l.wg.Wait()
	k := r.client()
	lost := 0
	for _, key := range l.acked {
		if item, err := readBack(k, key); err != nil || string(item.Value) != key {
			lost++
			r.t.Logf("%s: %v", key, err)
		}
	}
	r.t.Logf("%d of %d puts acknowledged, %d of them lost", len(l.acked), l.tried, lost)
	// A client is at one put when a fault begins; few are tried on a slow machine.
	if lost > 0 || l.tried-len(l.acked) > max(3*kvClients*faults, l.tried/10) {
		r.t.Errorf("%d of %d puts acknowledged, %d of them lost", len(l.acked), l.tried, lost)
	}
	for n, h := range l.history {
		if result := porcupine.CheckOperationsTimeout(kvRegister, h, time.Minute); result != porcupine.Ok {
			r.t.Errorf("shared%d: %d operations that a single machine could have shown: %s", n, len(h), result)
		}
	}
}

func kvSizes(t *testing.T, test func(t *testing.T, r *kvRing)) {
	sizes := []int{3}
	if rpctest.Long() {
		sizes = []int{3, 5}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) { test(t, newKVRing(t, n)) })
	}
}

// A member is killed, another comes, and one leaves in order.
func TestFaultKVKilled(t *testing.T) {
	kvSizes(t, func(t *testing.T, r *kvRing) {
		l := startKVLoad(r, kvClients)
		<-time.After(rpctest.Phase() / 2)
		r.members[0].Kill()
		<-time.After(2 * rpctest.Phase()) // longer than the suspicion
		r.join()
		<-time.After(rpctest.Phase())
		if err := r.members[1].stdin.Close(); err != nil {
			t.Error(err)
		}
		<-time.After(rpctest.Phase())
		l.check(r, 3)
	})
}

// Nobody reaches a member, for longer and for shorter than the suspicion.
func TestFaultKVPartition(t *testing.T) {
	kvSizes(t, func(t *testing.T, r *kvRing) {
		l := startKVLoad(r, kvClients)
		for _, cut := range []time.Duration{500 * time.Millisecond, max(4*time.Second, rpctest.Phase()/2)} {
			<-time.After(rpctest.Phase() / 2)
			r.members[0].link.Cut()
			<-time.After(cut)
			r.members[0].link.Heal()
		}
		<-time.After(rpctest.Phase())
		l.check(r, 2)
	})
}

// A client that reaches only a minority of the members gets an error.
func TestFaultKVMinorityRefuses(t *testing.T) {
	r := newKVRing(t, 3)
	k := r.client()
	if err := k.Put(&kv.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	r.members[0].link.Cut()
	r.members[1].link.Cut()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if item, err := k.Get("k", kv.WithContext(ctx)); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("get: %+v, %v", item, err)
	}
	if err := k.Put(&kv.Item{Key: "k"}, kv.WithContext(ctx)); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	r.members[0].link.Heal()
	r.members[1].link.Heal()
	eventually(t, "works again", func() bool {
		item, err := k.Get("k")
		return err == nil && string(item.Value) == "v"
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never happened: " + what)
}
