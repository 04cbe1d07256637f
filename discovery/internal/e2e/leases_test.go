package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// beat is the interval of heartbeats in these tests.
func beat() time.Duration {
	if rpctest.Long() {
		return 2 * time.Second
	}
	return time.Second // five of them a machine does not stall
}

// yard starts processes of discovery.
type yard struct {
	t   *testing.T
	dir string
}

// The process tests of discovery share one build.
func TestFaultDiscovery(t *testing.T) {
	dir := buildDiscovery(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *yard)
	}{
		{"Killed", testKilled}, {"HeartbeatsLost", testHeartbeatsLost}, {"ScaleIn", testScaleIn}, {"Crowd", testCrowd},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &yard{t, dir}) })
	}
}

func buildDiscovery(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./discovery/discovery-srv", "./discovery/internal/e2e/discoverynode")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func (y *yard) server(address string, args ...string) *rpctest.Program {
	y.t.Helper()
	return rpctest.StartProgram(y.t, filepath.Join(y.dir, "discovery-srv"),
		append([]string{"--server_address", address, "--broker", "memory", "--insecure"}, args...)...)
}

func (y *yard) nodes(prefix string, n int, addresses string, args ...string) *rpctest.Program {
	y.t.Helper()
	return rpctest.StartProgram(y.t, filepath.Join(y.dir, "discoverynode"), append([]string{
		"-addresses", addresses, "-prefix", prefix, "-nodes", fmt.Sprint(n), "-interval", beat().String(),
	}, args...)...)
}

// reader is the plugin of a process that registers nothing.
func (y *yard) reader(addresses ...string) discovery.Discovery {
	y.t.Helper()
	d := discovery.NewDiscovery(discovery.Addresses(addresses...), discovery.Interval(beat()))
	if err := d.Start(); err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			y.t.Error(err)
		}
	})
	return d
}

// status asks a discovery-srv how it is; nil when it does not answer.
func (y *yard) status(address string) func() *pb.StatusResponse {
	c := rpc.NewClient(rpc.Config{Registry: memreg.New()})
	y.t.Cleanup(c.Close)
	svc := pb.NewDiscoveryService(discovery.ServiceName, c)
	return func() *pb.StatusResponse {
		rsp, err := svc.Status(context.Background(), &pb.StatusRequest{}, append(rpc.Options(2*time.Second), client.WithAddress(address))...)
		if err != nil {
			return nil
		}
		return rsp
	}
}

func nodesOf(d discovery.Discovery, service string) (ids []string) {
	s, err := d.Snapshot(service)
	if err != nil {
		return nil
	}
	for _, n := range s.Nodes {
		ids = append(ids, n.Id)
	}
	return ids
}

// patient polls for longer than rpctest.Eventually does.
func (y *yard) patient(what string, patience time.Duration, ok func() bool) {
	y.t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > patience {
			y.t.Fatalf("never happened: %s", what)
		}
	}
}

// within waits for the nodes and returns how long that took.
func (y *yard) within(d discovery.Discovery, want ...string) time.Duration {
	y.t.Helper()
	begun := time.Now()
	for ; !slices.Equal(nodesOf(d, "shop"), want); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			s, err := d.Snapshot("shop")
			y.t.Fatalf("the nodes are %v, want %v; the plugin says %+v, %v", nodesOf(d, "shop"), want, s, err)
		}
	}
	return time.Since(begun)
}

// hold looks for a while that the nodes stay.
func (y *yard) hold(d discovery.Discovery, while time.Duration, want ...string) {
	y.t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := nodesOf(d, "shop"); !slices.Equal(got, want) {
			y.t.Fatalf("nodes %v, want %v", got, want)
		}
	}
}

// kill -9 of a service, of a read replica, of the write node and of all of
// them; and all come back with nothing in memory.
func testKilled(t *testing.T, y *yard) {
	w, r1, r2 := backend.Address(t), backend.Address(t), backend.Address(t)
	writer := y.server(w, "--role", "write")
	first := y.server(r1, "--role", "read", "--peers", w)
	second := y.server(r2, "--role", "read", "--peers", w)
	all := []string{r1, r2, w}
	victim := y.nodes("victim", 1, strings.Join(all, ","))
	y.nodes("node", 2, strings.Join(all, ","))
	d := y.reader(all...)
	y.within(d, "node0", "node1", "victim0")

	victim.Kill()
	took := y.within(d, "node0", "node1")
	t.Logf("a killed service is gone after %.1f intervals", took.Seconds()/beat().Seconds())
	bound := 5*beat() + 5*time.Second
	if rpctest.Long() { // alone on the machine
		bound = 3*beat() + time.Second
	}
	if took > bound {
		t.Errorf("a killed service was there for %v", took)
	}
	first.Kill()
	y.within(y.reader(all...), "node0", "node1")
	y.hold(d, rpctest.Phase()/2, "node0", "node1")
	writer.Kill()
	y.hold(d, rpctest.Phase()/2, "node0", "node1")
	y.within(y.reader(all...), "node0", "node1") // from the replica
	second.Kill()
	y.hold(d, rpctest.Phase()+5*beat(), "node0", "node1")

	for _, p := range []*rpctest.Program{writer, first, second} {
		p.Start()
	}
	back := time.Now()
	y.within(y.reader(w), "node0", "node1")
	t.Logf("registered again after %.1f intervals", time.Since(back).Seconds()/beat().Seconds())
	y.hold(d, rpctest.Phase()/2, "node0", "node1")
	y.nodes("late", 1, strings.Join(all, ","))
	y.within(d, "late0", "node0", "node1")
}

// 60 % of all heartbeats are lost: nobody is evicted.
func testHeartbeatsLost(t *testing.T, y *yard) {
	w := backend.Address(t)
	y.server(w)
	y.nodes("n", 40, w, "-clients", "40", "-lost", "0.6")
	status := y.status(w)
	for end := time.Now().Add(2*rpctest.Phase() + 2*discovery.TTLIntervals*beat()); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s := status(); s != nil && s.Expired > 0 {
			t.Fatalf("%d leases expired", s.Expired)
		}
	}
	s := status()
	t.Logf("%d leases, %d late, preserving %t", s.Leases, s.Late, s.Preserving)
	if s.Leases != 41 { // and its own
		t.Errorf("%d leases, want 41", s.Leases)
	}
}

// Half the nodes are taken away without a word: self-preservation holds them,
// and ends by itself.
func testScaleIn(t *testing.T, y *yard) {
	w := backend.Address(t)
	y.server(w)
	status := y.status(w)
	y.nodes("left", 10, w)
	leaving := y.nodes("gone", 10, w)
	rpctest.Eventually(t, "all are there", func() bool { s := status(); return s != nil && s.Leases == 21 })
	leaving.Kill()
	killed := time.Now()
	rpctest.Eventually(t, "it preserves them", func() bool { s := status(); return s != nil && s.Preserving })
	y.patient("it believes that they were taken away", 60*beat()+10*time.Second, func() bool {
		s := status()
		return s != nil && !s.Preserving && s.Leases == 11
	})
	t.Logf("over after %.1f intervals", time.Since(killed).Seconds()/beat().Seconds())
}

// 1 000 services and 200 watchers on one machine, and all clients back at once
// after a restart with nothing in memory.
func testCrowd(t *testing.T, y *yard) {
	const services, watchers = 1000, 200
	clients := 50
	if rpctest.Long() {
		clients = 1000
	}
	w := backend.Address(t)
	srv := y.server(w)
	status := y.status(w)
	y.nodes("n", services, w, "-name", "shop%d", "-clients", fmt.Sprint(clients), "-interval", (10 * beat()).String())
	y.patient("all are registered", time.Minute, func() bool { s := status(); return s != nil && s.Services == services+1 })

	d := y.reader(w)
	var heard atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	for range watchers {
		watcher, err := d.Watch()
		if err != nil {
			t.Fatal(err)
		}
		defer watcher.Stop()
		wg.Go(func() {
			for {
				r, err := watcher.Next()
				if err != nil {
					return
				}
				if r.Service.Name == "shop" {
					heard.Add(1)
				}
			}
		})
	}
	before := cpu(t, srv)
	begun := time.Now()
	y.nodes("new", 10, w)
	rpctest.Eventually(t, "every watcher heard of each", func() bool { return heard.Load() >= 10*watchers })
	t.Logf("10 changes reached %d watchers within %v", watchers, time.Since(begun).Round(time.Millisecond))
	time.Sleep(rpctest.Phase()) // what it costs to be there
	t.Logf("discovery-srv: %d services, %d watchers, %d clients: %s resident, %.1f %% of one core",
		services, watchers, clients, resident(t, srv), 100*(cpu(t, srv)-before)/time.Since(begun).Seconds())

	srv.Kill()
	srv.Start()
	back := time.Now()
	y.patient("all are back", 30*time.Second+20*beat(), func() bool { s := status(); return s != nil && s.Services == services+2 })
	t.Logf("%d clients with %d services are back after %v", clients, services, time.Since(back).Round(time.Millisecond))
}

// cpu returns the seconds that the process has used.
func cpu(t *testing.T, p *rpctest.Program) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := 0.0
	for _, f := range fields[11:13] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100 // USER_HZ
}

func resident(t *testing.T, p *rpctest.Program) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
