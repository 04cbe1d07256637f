package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
)

// childVariable makes the test's binary a node: a process that serves Echo and
// tells its address on stdout until its stdin ends.
const childVariable = "GO_PLATFORM_ROUTER_CHILD"

func child() {
	s := mgrpc.NewServer(server.Name("shop"), server.Address("127.0.0.1:0"), server.Registry(memreg.New()), server.Broker(broker.NewMemoryBroker()))
	if err := echo.RegisterEchoHandler(s, &node{id: os.Getenv(childVariable)}); err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, s.Options().Address) // the parent fails without it
	_, _ = io.Copy(io.Discard, os.Stdin)                // ends with the parent
}

// spawn starts a node in a process of its own and registers it. Nobody takes
// it out of the registry when it dies.
func (w *world) spawn(name string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = in.Close()            // ends the process
		_ = cmd.Process.Kill()    // in case it hangs
		_, _ = cmd.Process.Wait() // reaps it; a test may have done so
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "127.0.0.1:") {
			w.register("shop", "v1", &registry.Node{Id: name, Address: lines.Text(), Metadata: map[string]string{"protocol": "grpc"}})
			return cmd
		}
	}
	w.t.Fatal("the process told no address")
	return nil
}

// load calls all the time, from several goroutines, until stopped.
type load struct {
	mu      sync.Mutex
	by      map[string]int
	failed  []string
	total   int
	took    []time.Duration
	end     atomic.Bool
	callers sync.WaitGroup
}

func (w *world) load(callers int, opts ...client.CallOption) *load {
	l := &load{by: map[string]int{}}
	for range callers {
		l.callers.Go(func() {
			svc := w.echo("shop")
			for !l.end.Load() {
				begun := time.Now()
				rsp, err := svc.Call(w.t.Context(), &echo.Request{}, opts...)
				l.note(rsp, err, time.Since(begun))
				time.Sleep(time.Millisecond)
			}
		})
	}
	return l
}

func (l *load) note(rsp *echo.Response, err error, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if err != nil {
		l.failed = append(l.failed, err.Error())
		return
	}
	l.by[rsp.Text]++
	l.took = append(l.took, d)
}

// count returns how many calls were made, and how many of them the node answered.
func (l *load) count(id string) (all, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total, l.by[id]
}

// more waits for so many further calls.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	before, _ := l.count("")
	rpctest.Eventually(t, "further calls", func() bool { now, _ := l.count(""); return now >= before+n })
}

func (l *load) stop() { l.end.Store(true); l.callers.Wait() }

func (l *load) percentile(p float64) time.Duration {
	slices.Sort(l.took)
	return l.took[int(p*float64(len(l.took)-1))]
}

// TestKill9: a node that is killed and that nobody takes out of the registry
// gets no calls within two seconds, and none later; few calls notice.
func TestKill9(t *testing.T) {
	w := newWorld(t, rpctest.GRPC, router.Idempotent("*"), router.Strategy(router.RoundRobin))
	victim := w.spawn("a")
	w.spawn("b")
	w.spawn("c")
	var reached atomic.Int64 // tries that reached for the victim
	l := w.load(4, client.WithCallWrapper(func(next client.CallFunc) client.CallFunc {
		return func(ctx context.Context, n *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
			if n.Id == "a" {
				reached.Add(1)
			}
			return next(ctx, n, req, rsp, opts)
		}
	}))
	seen := func(name string) int { _, by := l.count(name); return by }
	rpctest.Eventually(t, "all get calls", func() bool { return seen("a") > 20 && seen("b") > 20 && seen("c") > 20 })
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rpctest.Within(t, 2*time.Second, "the router leaves it", func() bool {
		e, err := w.router.Explain("shop")
		return err == nil && strings.Contains(strings.Join(e.Nodes[0].Reasons, ""), "unreachable")
	})
	l.more(t, 200) // of calls that had chosen it before
	left, before := time.Now(), reached.Load()
	rpctest.Eventually(t, "four seconds of calls without it", func() bool { return time.Since(left) > 4*time.Second })
	l.more(t, 200)
	l.stop()
	if n := reached.Load() - before; n > 0 {
		t.Errorf("%d calls reached for the dead node after the router had left it", n)
	}
	if len(l.failed) > max(2, l.total/1000) {
		t.Errorf("%d of %d calls failed: %.300q", len(l.failed), l.total, l.failed)
	}
	t.Logf("%d calls, %d failed", l.total, len(l.failed))
}

// TestSlowFailingAndFlappingNodesOverSockets is the simulation once with real
// servers and sockets, beside go-micro's own selector.
func TestSlowFailingAndFlappingNodesOverSockets(t *testing.T) {
	const length, enough, most = 4 * time.Second, 5000, time.Minute
	run := func(name string, w *world) *load {
		nodes := make([]*node, 10)
		for i := range nodes {
			nodes[i] = w.serve("shop", "v1")
			nodes[i].delay.Store(int64(2 * time.Millisecond))
		}
		nodes[0].delay.Store(int64(20 * time.Millisecond))
		l := w.load(8, client.WithRetries(0))
		begun := time.Now()
		for over := false; !over; time.Sleep(5 * time.Millisecond) {
			calls, _ := l.count("")
			over = time.Since(begun) > length && (calls >= enough || time.Since(begun) > most)
			nodes[1].fail.Store(500 * int32(rand.IntN(2)))
			flapping := int32(0)
			if time.Since(begun)%(2*time.Second) > time.Second {
				flapping = 503
			}
			nodes[2].fail.Store(flapping)
		}
		l.stop()
		t.Logf("%-20s %6d calls, %5.2f %% failed, p50 %v, p95 %v, p99 %v, the slow node got %.0f %% of its fair share", name, l.total,
			100*float64(len(l.failed))/float64(l.total), l.percentile(0.5).Round(10000), l.percentile(0.95).Round(10000), l.percentile(0.99).Round(10000),
			1000*float64(l.by[nodes[0].id])/float64(l.total))
		for _, n := range nodes {
			n.stop()
		}
		return l
	}
	theirs := &world{Net: rpctest.New(t), t: t, stack: rpctest.GRPC}
	theirs.client = theirs.Client(rpctest.GRPC)
	random := run("go-micro random", theirs)
	ours := run("router", newWorld(t, rpctest.GRPC))
	errors := func(l *load) float64 { return float64(len(l.failed)) / float64(l.total) }
	if errors(ours) > errors(random)/3 {
		t.Errorf("%.2f %% failed, %.2f %% with go-micro's selector", errors(ours)*100, errors(random)*100)
	}
}

// TestAFailingNodeIsLeft: one node of four fails every call.
func TestAFailingNodeIsLeft(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		rpctest.Whole(t, func() bool {
			w := newWorld(t, stack, router.Eject(5, 30*time.Second, time.Minute), router.Strategy(router.RoundRobin))
			bad := w.serve("shop", "v1")
			for range 3 {
				w.serve("shop", "v1")
			}
			bad.fail.Store(500)
			_, failed := w.calls(t.Context(), 200)
			if !w.whole() {
				return false
			}
			if failed != 5 {
				t.Errorf("%d calls failed, want the five that eject the node", failed)
			}
			return true
		})
	})
}
