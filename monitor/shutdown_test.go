package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/recorder"
)

// instance is one node of a service that is to be restarted.
type instance struct {
	shutdown *monitor.Shutdown
	reports  *recorder.Recorder
	address  string
	handler  rpctest.Echo
	ended    atomic.Int64 // unary calls whose handler has returned
}

func startInstance(t *testing.T, net *rpctest.Net, flush ...func() error) *instance {
	t.Helper()
	var wrapper server.HandlerWrapper
	srv := net.Server(rpctest.GRPC, "shop", server.WrapHandler(func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error { return wrapper(next)(ctx, req, rsp) }
	}))
	m := recorder.NewMonitor(monitor.Server(srv))
	i := &instance{shutdown: monitor.NewShutdown(m, srv, flush...), reports: m}
	// Callers learn it within a millisecond, unless the machine stalls.
	i.shutdown.Propagation = 300 * time.Millisecond
	wrapper = func(next server.HandlerFunc) server.HandlerFunc { return i.shutdown.HandlerWrapper()(i.noteEnd(next)) }
	if err := echo.RegisterEchoHandler(srv, &i.handler); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(srv.Start(), m.Start()); err != nil {
		t.Fatal(err)
	}
	i.address = srv.Options().Address
	return i
}

// noteEnd is inside of the shutdown's wrapper: a call that counts as in flight
// no longer has been noted.
func (i *instance) noteEnd(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		err := next(ctx, req, rsp)
		if !req.Stream() {
			i.ended.Add(1)
		}
		return err
	}
}

// hold makes the handler of unary calls wait until it is released.
func (i *instance) hold() (release func()) {
	held := make(chan struct{})
	i.handler.Forward = func(context.Context) error { <-held; return nil }
	return sync.OnceFunc(func() { close(held) })
}

func TestFiftyRollingRestartsFailNoCall(t *testing.T) {
	t.Parallel() // it waits, and has networks of its own
	for _, half := range []string{"first half", "second half"} {
		t.Run(half, func(t *testing.T) {
			t.Parallel() // each restart waits for callers to learn of it
			restartUnderLoad(t, 25)
		})
	}
}

// restartUnderLoad replaces the older of two instances, so many times.
func restartUnderLoad(t *testing.T, times int) {
	t.Helper()
	net := rpctest.New(t)
	instances := []*instance{startInstance(t, net), startInstance(t, net)}
	svc := echo.NewEchoService("shop", net.Client(rpctest.GRPC))
	ctx, cancel := context.WithCancel(context.Background())
	var calls, failed atomic.Int64
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				calls.Add(1)
				// The calls outlive the load: their end is not a failure.
				if _, err := svc.Call(context.Background(), &echo.Request{Text: "hi", SleepMs: 3}); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	// go-micro's client watches the registry only after it has asked it: what
	// changes in between it does not see.
	rpctest.Eventually(t, "the load is on", func() bool { return calls.Load() > 400 })
	for range times {
		instances = append(instances, startInstance(t, net))
		if err := instances[0].shutdown.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		instances = instances[1:]
	}
	cancel()
	wg.Wait()
	for _, i := range instances {
		if err := i.shutdown.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if failed.Load() > 0 {
		t.Fatalf("%d of %d calls failed, the first with %v", failed.Load(), calls.Load(), *first.Load())
	}
	t.Logf("%d calls", calls.Load())
}

func TestShutdownKeepsItsOrder(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	net := rpctest.New(t)
	svc := echo.NewEchoService("shop", net.Client(rpctest.GRPC))
	var i *instance
	var statuses []monitor.Status
	i = startInstance(t, net, func() error {
		if i.ended.Load() == 0 {
			t.Error("flushed before the call in flight had ended")
		}
		if _, err := net.Registry.GetService("shop"); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("flushed while registered: %v", err)
		}
		statuses = i.reports.Statuses()
		return errors.New("flush failed")
	})
	stream, err := svc.Stream(context.Background())
	if err == nil {
		err = stream.Send(&echo.Request{Text: "x"})
	}
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	left := false
	i.shutdown.Leave = func() error {
		if i.ended.Load() == 0 {
			t.Error("left before the call in flight had ended")
		}
		_, err := svc.Call(context.Background(), &echo.Request{}, client.WithAddress(i.address))
		if err != nil {
			t.Errorf("left when the server did not serve any more: %v", err)
		}
		left = err == nil
		return stream.Send(&echo.Request{End: true})
	}
	served, release := make(chan error, 1), i.hold()
	defer release()
	go func() {
		_, err := svc.Call(context.Background(), &echo.Request{}, client.WithRequestTimeout(time.Minute))
		served <- err
	}()
	rpctest.Eventually(t, "the call is in flight", func() bool { return i.shutdown.InFlight() == 2 })
	go func() {
		// A shutdown that does not wait for it has left by then.
		<-time.After(2 * i.shutdown.Propagation)
		release()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := i.shutdown.Stop(ctx); err == nil || err.Error() != "flush failed" {
		t.Errorf("got %v, want the flush's error", err)
	}
	if err := <-served; err != nil {
		t.Errorf("the call in flight failed: %v", err)
	}
	if !left {
		t.Error("it did not leave")
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	if slices.Contains(statuses, monitor.StatusStopped) || !slices.Contains(statuses, monitor.StatusDraining) {
		t.Errorf("statuses when flushing: %v, want DRAINING and not STOPPED", statuses)
	}
	if all := i.reports.Statuses(); all[len(all)-1] != monitor.StatusStopped {
		t.Errorf("statuses: %v, want STOPPED at the end", all)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	net := rpctest.New(t)
	i := startInstance(t, net)
	release := i.hold()
	// By then the shutdown waits no longer; go-micro's Stop may.
	i.shutdown.Leave = func() error { release(); return nil }
	svc := echo.NewEchoService("shop", net.Client(rpctest.GRPC))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = svc.Call(context.Background(), &echo.Request{}) // it may be cut off by the end of the server
	}()
	rpctest.Eventually(t, "the call is in flight", func() bool { return i.shutdown.InFlight() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := i.shutdown.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want what was in flight", err)
	}
	<-done
}

// stuckServer stops when it is let.
type stuckServer struct {
	server.Server
	let, stopped chan struct{}
}

func (s stuckServer) Stop() error {
	defer close(s.stopped)
	<-s.let
	return s.Server.Stop()
}

func TestShutdownGoesOnWithoutTheServer(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	net := rpctest.New(t)
	stuck := stuckServer{net.Server(rpctest.GRPC, "shop"), make(chan struct{}), make(chan struct{})}
	net.Start(stuck.Server)
	flushed := false
	s := monitor.NewShutdown(recorder.NewMonitor(), stuck, func() error { flushed = true; return nil })
	s.Propagation = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) || !flushed {
		t.Errorf("flushed %t, %v", flushed, err)
	}
	close(stuck.let)
	<-stuck.stopped
}

// What telemetry lost is a warning with figures, and no reason to fail.
func TestShutdownWarnsOfWhatIsLost(t *testing.T) {
	t.Parallel() // it waits, and has a network of its own
	net := rpctest.New(t)
	srv := net.Server(rpctest.GRPC, "shop")
	net.Start(srv)
	lost := fmt.Errorf("trace: %w 3 spans: nobody listens", monitor.ErrLost)
	broken := errors.New("disk full")
	for _, c := range []struct {
		flush func() error
		want  error
	}{
		{func() error { return lost }, nil},
		{func() error { return errors.Join(lost, broken) }, broken},
	} {
		var said rpctest.Buffer
		m := monitor.NewMonitor(monitor.Client(net.Client(rpctest.GRPC)), monitor.Server(srv), monitor.Logger(net.Logger))
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		s := monitor.NewShutdown(m, srv, c.flush)
		s.Propagation, s.Logger = time.Millisecond, slog.New(slog.NewTextHandler(&said, nil))
		if err := s.Stop(t.Context()); !errors.Is(err, c.want) || errors.Is(err, monitor.ErrLost) {
			t.Errorf("stop: %v, want %v", err, c.want)
		}
		for _, want := range []string{"level=WARN", "lost 3 spans", "monitor: lost "} { // there is no monitor-srv
			if !strings.Contains(said.String(), want) {
				t.Errorf("no %q in %s", want, said.String())
			}
		}
		if strings.Contains(said.String(), "ERROR") {
			t.Error(said.String())
		}
	}
}
