package e2e_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/log"
	logrecorder "github.com/micro/go-platform/log/recorder"
	"github.com/micro/go-platform/metrics"
	metricsrecorder "github.com/micro/go-platform/metrics/recorder"
	"github.com/micro/go-platform/monitor"
	monitorpb "github.com/micro/go-platform/monitor/proto"
	"github.com/micro/go-platform/trace"
	tracepb "github.com/micro/go-platform/trace/proto"
)

func buildServices(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./trace/trace-srv", "./monitor/monitor-srv")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// shop is a service and its caller in this process, wired with the default
// plugins that talk to the processes.
type shop struct {
	trace   trace.Trace
	monitor monitor.Monitor
	echo    echo.EchoService
}

func openShop(t *testing.T, reg registry.Registry) *shop {
	t.Helper()
	brk, err := membroker.New()
	if err != nil {
		t.Fatal(err)
	}
	self := &registry.Service{Name: "shop"}
	srv := mgrpc.NewServer(server.Name("shop"), server.Address("127.0.0.1:0"), server.Registry(reg), server.Broker(brk),
		server.RegisterTTL(time.Minute), server.RegisterInterval(10*time.Second))
	plain := rpc.NewClient(rpc.Config{Registry: reg, Broker: brk})
	t.Cleanup(plain.Close)

	l := log.NewLog(log.WithOutput(logrecorder.NewOutput()))
	m := metricsrecorder.NewMetrics()
	s := &shop{
		trace:   trace.NewTrace(trace.Client(plain), trace.Service(self), trace.BatchInterval(200*time.Millisecond), trace.QueueSize(200000)),
		monitor: monitor.NewMonitor(monitor.Client(plain), monitor.Server(srv), monitor.Interval(500*time.Millisecond)),
	}
	for _, w := range []server.HandlerWrapper{
		trace.HandlerWrapper(s.trace, self), metrics.HandlerWrapper(m), monitor.HandlerWrapper(s.monitor), log.HandlerWrapper(l),
	} {
		if err := srv.Init(server.WrapHandler(w)); err != nil {
			t.Fatal(err)
		}
	}
	if err := echo.RegisterEchoHandler(srv, &rpctest.Echo{}); err != nil {
		t.Fatal(err)
	}
	for _, start := range []func() error{l.Start, m.Start, s.trace.Start, srv.Start, s.monitor.Start} {
		if err := start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, stop := range []func() error{srv.Stop, s.monitor.Stop, s.trace.Stop, m.Stop, l.Stop} {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
	var c client.Client = plain
	for _, wrap := range []client.Wrapper{
		monitor.ReadyWrapper(s.monitor), monitor.ClientWrapper(s.monitor), trace.ClientWrapper(s.trace, self),
		metrics.ClientWrapper(m), log.ClientWrapper(l),
	} {
		c = wrap(c)
	}
	s.echo = echo.NewEchoService("shop", c)
	return s
}

// load calls at 1 000 calls/s for a while and returns the failures and the 99th
// percentile.
func (s *shop) load(t *testing.T, d time.Duration) (calls, failed int, p99 time.Duration) {
	t.Helper()
	const callers, pace = 10, 10 * time.Millisecond
	bound := 10 * time.Second
	if rpctest.Long() { // alone on the machine
		bound = time.Second
	}
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			ticker := time.NewTicker(pace)
			defer ticker.Stop()
			for end := time.Now().Add(d); time.Now().Before(end); <-ticker.C {
				ctx, cancel := context.WithTimeout(context.Background(), bound)
				begin := time.Now()
				_, err := s.echo.Call(ctx, &echo.Request{Text: "hi"})
				elapsed := time.Since(begin)
				cancel()
				mu.Lock()
				took = append(took, elapsed)
				if err != nil {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return len(took), failed, took[len(took)*99/100]
}

// Killing trace-srv and monitor-srv under load costs no call, and what happened
// meanwhile arrives when they are back, one of them with an empty memory.
func TestFaultPlatformServersKilled(t *testing.T) {
	addr := backend.Consul(t).Addr
	dir, data := buildServices(t), t.TempDir()
	flags := []string{"--registry", "consul", "--registry_address", addr, "--broker", "memory", "--insecure"}
	traceSrv := rpctest.StartProgram(t, filepath.Join(dir, "trace-srv"), append(flags, "--data_dir", data)...)
	monitorSrv := rpctest.StartProgram(t, filepath.Join(dir, "monitor-srv"), append(flags, "--database_url", "sqlite::memory:")...)

	reg := consul.NewConsulRegistry(registry.Addrs(addr))
	s := openShop(t, reg)
	s.load(t, rpctest.Phase()/2) // connections open
	calls, failed, before := s.load(t, rpctest.Phase())
	if failed > 0 {
		t.Fatalf("%d of %d calls failed before any fault", failed, calls)
	}

	traceSrv.Kill()
	monitorSrv.Kill()
	killed := time.Now()
	calls, failed, during := s.load(t, rpctest.Phase())
	t.Logf("%d calls, %d failed; p99 %v before, %v with both servers dead", calls, failed, before, during)
	if failed*1000 > calls {
		t.Errorf("%d of %d calls failed while the platform was dead, want less than one in a thousand", failed, calls)
	}
	// Other tests share the machine in make test; the floor is the scheduler's.
	if rpctest.Long() && during > 2*before && during > 20*time.Millisecond {
		t.Errorf("p99 rose from %v to %v", before, during)
	}

	traceSrv.Start()
	monitorSrv.Start()
	asker := rpc.NewClient(rpc.Config{Registry: reg})
	defer asker.Close()
	traces, back := tracepb.NewTraceService(trace.ServiceName, asker), time.Now()
	last := &tracepb.SearchRequest{ // of the client's and the server's span of each call
		Service: "shop", From: killed.UnixMicro(), To: back.UnixMicro(), Offset: int64(2*calls - 1), Limit: 1,
	}
	for arrived := false; !arrived; {
		rsp, err := traces.Search(context.Background(), last, rpc.Options(5*time.Second)...)
		arrived = err == nil && len(rsp.Spans) == 1
		if !arrived && time.Since(back) > 10*time.Second+5*rpctest.Phase() {
			t.Fatalf("the spans of the outage did not all arrive; last answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
	t.Logf("%d spans of the outage arrived within %v", 2*calls, time.Since(back).Round(time.Millisecond))
	rpctest.Eventually(t, "the empty monitor-srv knows the service again", func() bool {
		rsp, err := monitorpb.NewMonitorService(monitor.ServiceName, asker).Status(context.Background(),
			&monitorpb.StatusRequest{Service: "shop"}, rpc.Options(time.Second)...)
		return err == nil && len(rsp.Statuses) == 1 && rsp.Statuses[0].Status == monitorpb.Status_RUNNING
	})
	if n := s.trace.Dropped(); n > 0 {
		t.Errorf("%d spans were dropped in an outage shorter than the queue", n)
	}
}
