package monitor_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/recorder"
)

// go-micro's server deregisters what has left already, and Consul does not know
// it any more: a clean stop logs no error nevertheless, and callers have left the
// node before the server stops.
func TestShutdownOnConsulLogsNoError(t *testing.T) {
	srv := backend.Consul(t)
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		reg := consul.NewConsulRegistry(registry.Addrs(srv.Addr))
		var lines rpctest.Buffer
		log := slog.New(slog.NewTextHandler(&lines, nil))
		net := rpctest.New(t)
		s := net.Server(stack, "shop", server.Registry(reg), server.WithLogger(microlog.New(log)))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		m := recorder.NewMonitor(monitor.Server(s))
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		known := func() bool {
			found, err := reg.GetService("shop")
			return err == nil && len(found) > 0 && len(found[0].Nodes) > 0
		}
		rpctest.Eventually(t, "the node is registered", known)
		end := monitor.NewShutdown(m, s)
		end.Leave = func() error {
			if known() {
				return errors.New("callers still find the node")
			}
			return nil
		}
		if err := end.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if strings.Contains(lines.String(), "level=ERROR") {
			t.Errorf("a clean stop logged\n%s", &lines)
		}
		agent := reg.(interface{ Client() *api.Client }).Client().Agent()
		if left, err := agent.Services(); err != nil || len(left) > 0 {
			t.Errorf("the agent still has %v, %v", left, err)
		}
	})
}

// mute is a registry that does not answer any more.
type mute struct {
	registry.Registry
	asked atomic.Bool
	until chan struct{}
}

func (m *mute) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	m.asked.Store(true)
	<-m.until
	return nil, registry.ErrNotFound
}

// A service that stops does not wait for a registry that is out of reach.
func TestShutdownGoesOnWithoutTheRegistry(t *testing.T) {
	net := rpctest.New(t)
	reg := &mute{Registry: net.Registry, until: make(chan struct{})}
	s := net.Server(rpctest.GRPC, "shop", server.Registry(reg))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	m := recorder.NewMonitor(monitor.Server(s))
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- monitor.NewShutdown(m, s).Stop(t.Context()) }()
	select {
	case err := <-stopped:
		if err == nil || !reg.asked.Load() {
			t.Errorf("stop: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the registry")
	}
	close(reg.until)
}
