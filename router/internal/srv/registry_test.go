package srv_test

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
)

// moody is a registry that may not answer about stock.
type moody struct {
	registry.Registry
	silent atomic.Bool
}

func (m *moody) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	if name == "stock" && m.silent.Load() {
		return nil, errors.New("registry is away")
	}
	return m.Registry.GetService(name, opts...)
}

func TestASilentRegistryIsNoEmptyAnswer(t *testing.T) {
	m := &moody{}
	m.silent.Store(true)
	a := boot(t, func(c *daemon.Config) { m.Registry, c.Registry = c.Registry, m })
	a.register(t, 2)
	_, next := a.follow(t, &pb.SelectRequest{Service: "stock"})
	if first := next("stock"); !first.Stale || len(first.Services) != 0 {
		t.Errorf("while it is silent: %v", first)
	}
	m.silent.Store(false)
	for rsp := next("stock"); rsp.Stale || len(rsp.Services) != 1 || len(rsp.Services[0].Nodes) != 2; rsp = next("stock") {
	}
	m.silent.Store(true) // what is known stays
	if rsp, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock"}); err != nil || len(rsp.Services) != 1 {
		t.Errorf("silent again: %v, %v", rsp, err)
	}
}

func TestARestartKeepsRulesAndBeginsAnEpoch(t *testing.T) {
	file := "sqlite://" + filepath.Join(t.TempDir(), "router.db")
	shared := func(c *daemon.Config) { c.DatabaseURL = file }
	a := boot(t, shared)
	a.register(t, 2)
	if _, err := a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: canary("kept")}); err != nil {
		t.Fatal(err)
	}
	before, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.srv.Stop(); err != nil {
		t.Fatal(err)
	}
	a.net.Boot(routersrv.Service(), shared)
	fresh := pb.NewRouterService(router.ServiceName, a.net.Client(rpctest.GRPC))
	after, err := fresh.Select(within(t), &pb.SelectRequest{Service: "stock", Known: []*pb.Known{
		{Service: "stock", Epoch: before.Epoch, Revision: before.Revision},
	}})
	if err != nil || after.Unchanged || after.Epoch == before.Epoch || len(after.Rules) != 1 || after.Rules[0].Id != "kept" {
		t.Errorf("after a restart: %v, %v", after, err)
	}
}
