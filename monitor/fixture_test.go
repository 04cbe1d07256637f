package monitor_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/monitor"
	monitorsrv "github.com/micro/go-platform/monitor/internal/srv"
	pb "github.com/micro/go-platform/monitor/proto"
)

// world is a network with a real monitor-srv on it.
type world struct {
	*rpctest.Net
	t   *testing.T
	srv *daemon.Running
	api pb.MonitorService
}

func newWorld(t *testing.T) *world {
	t.Helper()
	net := rpctest.New(t)
	return &world{net, t, net.Boot(monitorsrv.Service()), pb.NewMonitorService(monitor.ServiceName, net.Client(rpctest.GRPC))}
}

// serve starts an Echo node and its monitor. It returns the node's id.
func (w *world) serve(stack, name string, opts ...monitor.Option) (monitor.Monitor, string) {
	w.t.Helper()
	s := w.Server(stack, name)
	opts = append([]monitor.Option{
		monitor.Server(s), monitor.Client(w.Client(stack)), monitor.Interval(200 * time.Millisecond), monitor.Logger(w.Logger),
	}, opts...)
	m := monitor.NewMonitor(opts...)
	if err := s.Init(server.WrapHandler(monitor.HandlerWrapper(m)), server.WrapSubscriber(monitor.SubscriberWrapper(m))); err != nil {
		w.t.Fatal(err)
	}
	if err := echo.RegisterEchoHandler(s, &nodeEcho{id: s.Options().Id}); err != nil {
		w.t.Fatal(err)
	}
	w.Start(s)
	w.run(m)
	return m, name + "-" + s.Options().Id
}

// run starts m, and stops it before its server goes.
func (w *world) run(m monitor.Monitor) {
	w.t.Helper()
	if err := m.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = m.Stop() }) // tests that care look at the first Stop
}

// nodeEcho answers with the id of its node.
type nodeEcho struct {
	rpctest.Echo
	id string
}

func (e *nodeEcho) Call(ctx context.Context, req *echo.Request, rsp *echo.Response) error {
	err := e.Echo.Call(ctx, req, rsp)
	rsp.Text = e.id
	return err
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

// statusOf returns what monitor-srv says of a node.
func (w *world) statusOf(node string) pb.Status_Status { return w.fullStatus(node).GetStatus() }

func (w *world) fullStatus(node string) *pb.Status {
	rsp, err := w.api.Status(w.context(), &pb.StatusRequest{Node: node})
	if err != nil || len(rsp.Statuses) == 0 {
		return nil
	}
	return rsp.Statuses[0]
}

// windows returns how many windows of stats a node has reported.
func (w *world) windows(node string) uint64 {
	rsp, err := w.api.Stats(w.context(), &pb.StatsRequest{Node: node})
	if err != nil || len(rsp.Stats) == 0 {
		return 0
	}
	return rsp.Stats[0].Seq
}

// history returns the statuses a node became, in order.
func (w *world) history(node, check string) (became []string) {
	w.t.Helper()
	rsp, err := w.api.History(w.context(), &pb.HistoryRequest{Node: node})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, tr := range rsp.Transitions {
		if tr.Check == check {
			became = append(became, tr.To)
		}
	}
	return became
}

func (w *world) eventuallyHistory(node, check string, want ...string) {
	w.t.Helper()
	rpctest.Eventually(w.t, "history "+node+" "+check, func() bool { return slices.Equal(w.history(node, check), want) })
}
