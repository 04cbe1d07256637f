package monitor_test

import (
	"testing"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/discard"
	monitorsrv "github.com/micro/go-platform/monitor/internal/srv"
	"github.com/micro/go-platform/monitor/monitortest"
	"github.com/micro/go-platform/monitor/recorder"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// idle returns a server that is never started: a node without an address.
func idle(name string) server.Server {
	return server.NewServer(server.Name(name), server.Id("1"), server.Address("127.0.0.1:0"))
}

func TestPlatform(t *testing.T) {
	t.Parallel() // it waits, and has networks of its own
	monitortest.Run(t, func(t testing.TB, opts ...monitor.Option) monitor.Monitor {
		net := rpctest.New(t)
		net.Boot(monitorsrv.Service())
		return monitor.NewMonitor(append([]monitor.Option{
			monitor.Client(net.Client(rpctest.GRPC)), monitor.Server(idle("suite")), monitor.Logger(net.Logger),
		}, opts...)...)
	})
}

func TestRecorder(t *testing.T) {
	t.Parallel() // it waits
	monitortest.Run(t, func(_ testing.TB, opts ...monitor.Option) monitor.Monitor {
		return recorder.NewMonitor(append([]monitor.Option{monitor.Server(idle("suite"))}, opts...)...)
	})
}

func TestDiscard(t *testing.T) {
	t.Parallel() // it waits
	monitortest.Run(t, func(_ testing.TB, opts ...monitor.Option) monitor.Monitor {
		return discard.NewMonitor(append([]monitor.Option{monitor.Server(idle("suite"))}, opts...)...)
	})
}
