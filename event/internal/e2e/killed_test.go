package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

func rounds() int {
	if rpctest.Long() {
		return 100
	}
	return 5
}

// eventSrv is the process and how to reach it.
type eventSrv struct {
	*rpctest.Program
	consul string
	data   string
}

// startEventSrv starts an event-srv whose address stays over restarts: the
// registry takes its time to forget the killed ones.
func startEventSrv(t *testing.T) *eventSrv {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./event/event-srv")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := &eventSrv{consul: backend.Consul(t).Addr, data: t.TempDir()}
	s.Program = rpctest.StartProgram(t, filepath.Join(dir, "event-srv"), "--registry", "consul", "--registry_address", s.consul,
		"--broker", "memory", "--insecure", "--server_address", backend.Address(t), "--data_dir", s.data)
	return s
}

// openEvent returns a started Event that finds event-srv by consul.
func openEvent(t *testing.T, consulAddr string, opts ...event.Option) event.Event {
	t.Helper()
	brk, err := membroker.New()
	if err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(rpc.Config{Registry: consul.NewConsulRegistry(registry.Addrs(consulAddr)), Broker: brk})
	t.Cleanup(c.Close)
	e := event.NewEvent(append([]event.Option{event.Client(c), event.Timeout(2 * time.Second)}, opts...)...)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop() }) // queues are empty; event-srv may be dead
	return e
}

// load publishes from several goroutines, each record until it is
// acknowledged, as a careful caller does.
type load struct {
	e      event.Event
	stop   chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	acked  map[string]bool
	errors atomic.Int64
	most   int // 0: no bound
}

func startLoad(e event.Event, publishers int, pause time.Duration) *load {
	l := &load{e: e, stop: make(chan struct{}), acked: make(map[string]bool)}
	for range publishers {
		l.wg.Go(func() { l.publish(pause) })
	}
	return l
}

// atMost bounds how many records are published.
func (l *load) atMost(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = n
}

func (l *load) publish(pause time.Duration) {
	for {
		r := &event.Record{Type: "load", Data: strings.Repeat("x", 200)}
		for l.e.Publish(context.Background(), r) != nil {
			l.errors.Add(1)
			time.Sleep(10 * time.Millisecond) // the caller's own backoff
		}
		l.mu.Lock()
		l.acked[r.Id] = true
		full := l.most > 0 && len(l.acked) >= l.most
		l.mu.Unlock()
		if full {
			return
		}
		select {
		case <-l.stop:
			return
		case <-time.After(pause):
		}
	}
}

// end waits for the last acknowledgement and returns all ids.
func (l *load) end() map[string]bool {
	close(l.stop)
	l.wg.Wait()
	return l.acked
}

// collector notes what a subscription got.
type collector struct {
	mu   sync.Mutex
	ids  map[string]int
	seqs []uint64
}

func collect(t *testing.T, e event.Event, opts ...event.ConsumeOption) *collector {
	t.Helper()
	c := &collector{ids: make(map[string]int)}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := e.Consume(ctx, func(_ context.Context, d *event.Delivery) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ids[d.Id]++
			c.seqs = append(c.seqs, d.Sequence)
			return nil
		}, append(opts, event.FromBeginning())...)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Consume ended by itself: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-over })
	return c
}

// missing returns how many of the ids did not come.
func missing(want map[string]bool, all ...*collector) (n int) {
	for id := range want {
		found := false
		for _, c := range all {
			c.mu.Lock()
			found = found || c.ids[id] > 0
			c.mu.Unlock()
		}
		if !found {
			n++
		}
	}
	return n
}

// duplicates returns how many deliveries there were beyond one of each.
func duplicates(all ...*collector) (n int) {
	seen := make(map[string]bool)
	for _, c := range all {
		c.mu.Lock()
		for id, times := range c.ids {
			n += times - 1
			if seen[id] {
				n++
			}
			seen[id] = true
		}
		c.mu.Unlock()
	}
	return n
}

func (c *collector) checkSequence(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, seq := range c.seqs {
		if seq != uint64(i)+1 {
			t.Fatalf("delivery %d has sequence %d: a gap or a duplicate", i, seq)
		}
	}
}

func arrive(t *testing.T, what string, acked map[string]bool, all ...*collector) {
	t.Helper()
	least, deadline := len(acked)+1, time.Time{} // a minute without progress: a gigabyte takes a busy machine longer
	for {
		n := missing(acked, all...)
		switch {
		case n == 0:
			return
		case n < least:
			least, deadline = n, time.Now().Add(time.Minute)
		case time.Now().After(deadline):
			t.Fatalf("%s: %d of %d acknowledged records are missing", what, n, len(acked))
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

// event-srv is killed again and again under load: what was acknowledged is
// there, once, without a gap, for those that follow and for those that share a
// durable subscription.
func TestFaultEventSrvKilled(t *testing.T) {
	srv := startEventSrv(t)
	publisher := openEvent(t, srv.consul)
	follower := collect(t, openEvent(t, srv.consul))
	durable := event.Durable("shared")
	one := collect(t, openEvent(t, srv.consul), durable, event.AckWait(5*time.Second))
	two := collect(t, openEvent(t, srv.consul), durable, event.AckWait(5*time.Second))
	l := startLoad(publisher, 8, time.Millisecond)
	for range rounds() {
		time.Sleep(100*time.Millisecond + rand.N(200*time.Millisecond)) // a random moment
		srv.Kill()
		srv.Start()
	}
	acked := l.end()
	arrive(t, "follower", acked, follower)
	arrive(t, "durable subscription", acked, one, two)
	follower.checkSequence(t)
	if n := duplicates(follower); n > 0 {
		t.Errorf("%d duplicates with the follower", n)
	}
	t.Logf("%d kills: %d records acknowledged, 0 lost, %d failed tries; the durable subscription of two members got %d duplicates",
		rounds(), len(acked), l.errors.Load(), duplicates(one, two))
	if n := duplicates(one, two); n > rounds()*2*64 { // what two members hold at most at each kill
		t.Errorf("%d duplicates", n)
	}
}

// The disk lost the end of what the killed process wrote: event-srv says so,
// serves what is before it, and gives no sequence twice.
func TestFaultEventTornEnd(t *testing.T) {
	srv := startEventSrv(t)
	e := openEvent(t, srv.consul)
	const count = 20
	for range count {
		rpctest.Eventually(t, "a record is acknowledged", func() bool { return e.Publish(t.Context(), &event.Record{}) == nil })
	}
	srv.Kill()
	wal := filepath.Join(srv.data, "event.db-wal")
	info, err := os.Stat(wal)
	if err == nil {
		err = os.Truncate(wal, info.Size()-1000)
	}
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if out := srv.Run.Output.String(); !strings.Contains(out, "torn or damaged") || !strings.Contains(out, "ERROR") {
		t.Errorf("event-srv says only: %s", out)
	}
	r := &event.Record{}
	rpctest.Eventually(t, "it goes on", func() bool { return e.Publish(t.Context(), r) == nil })
	c := collect(t, e)
	arrive(t, "follower", map[string]bool{r.Id: true}, c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.seqs); n != count || c.seqs[n-2] != count-1 || c.seqs[n-1] != count+1 || r.Sequence != count+1 {
		t.Errorf("served %v, want 1 to %d and %d", c.seqs, count-1, count+1)
	}
}

// subscriberEnv makes the test binary a subscriber: see TestMain.
const subscriberEnv = "E2E_EVENT_SUBSCRIBER"

// subscribe is a subscriber's process. It prints the id of each record when it
// has handled it.
func subscribe(consulAddr string) error {
	brk, err := membroker.New()
	if err != nil {
		return err
	}
	c := rpc.NewClient(rpc.Config{Registry: consul.NewConsulRegistry(registry.Addrs(consulAddr)), Broker: brk})
	e := event.NewEvent(event.Client(c))
	if err := e.Start(); err != nil {
		return err
	}
	return e.Consume(context.Background(), func(_ context.Context, d *event.Delivery) error {
		_, err := fmt.Fprintln(os.Stdout, d.Id)
		return err
	}, event.Durable("killed"), event.FromBeginning(), event.AckWait(5*time.Second))
}

// subscriber is a subscriber's process seen from outside.
type subscriber struct {
	t      *testing.T
	consul string
	into   *collector
	cmd    *exec.Cmd
	read   sync.WaitGroup
}

func (s *subscriber) start() {
	s.t.Helper()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), subscriberEnv+"="+s.consul)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.read.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.into.mu.Lock()
			s.into.ids[lines.Text()]++
			s.into.mu.Unlock()
		}
	})
}

func (s *subscriber) kill() {
	_ = s.cmd.Process.Kill() // it may be dead already
	s.read.Wait()
	_ = s.cmd.Wait() // it says that it was killed
}

func (s *subscriber) handled() int {
	s.into.mu.Lock()
	defer s.into.mu.Unlock()
	return len(s.into.ids)
}

// Subscribers are killed in turn: the work is done by those that are left and
// those that come back.
func TestFaultEventSubscribersKilled(t *testing.T) {
	srv := startEventSrv(t)
	into := &collector{ids: make(map[string]int)}
	var all []*subscriber
	for range 2 {
		s := &subscriber{t: t, consul: srv.consul, into: into}
		s.start()
		t.Cleanup(s.kill)
		all = append(all, s)
	}
	l := startLoad(openEvent(t, srv.consul), 4, time.Millisecond)
	for i := range rounds() {
		before := all[0].handled()
		rpctest.Eventually(t, "records are handled", func() bool { return all[0].handled() > before+20 })
		all[i%2].kill()
		all[i%2].start()
	}
	acked := l.end()
	arrive(t, "durable subscription", acked, into)
	t.Logf("%d kills: %d records acknowledged, 0 lost, %d handled twice", rounds(), len(acked), duplicates(into))
	if n := duplicates(into); n > rounds()*64 { // what a member holds at most
		t.Errorf("%d duplicates", n)
	}
}
