package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go-micro.dev/v5/broker"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
	monitorsrv "github.com/micro/go-platform/internal/srv/monitor"
	tracesrv "github.com/micro/go-platform/internal/srv/trace"
	monitorpb "github.com/micro/go-platform/monitor/proto"
	tracepb "github.com/micro/go-platform/trace/proto"
)

// platform is everything that runs.
type platform struct {
	registry  *memreg.Registry
	broker    broker.Broker
	daemons   []*daemon.Running
	nodes     []*node
	collector collector
	customers *customers

	client  *rpc.Client // of the report
	traces  tracepb.TraceService
	monitor monitorpb.MonitorService

	logs  string // directory
	every time.Duration
}

// start brings up the platform and the shop on free ports of the loopback
// interface.
func start(ctx context.Context, c config) (_ *platform, err error) {
	p := &platform{registry: memreg.New(), every: c.every}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop(), p.stopDaemons())
		}
	}()
	if p.logs, err = os.MkdirTemp("", "go-platform-"); err != nil {
		return nil, err
	}
	if p.broker, err = membroker.New(); err != nil {
		return nil, err
	}
	if err := p.collector.listen(); err != nil {
		return nil, err
	}
	for _, s := range []daemon.Service{tracesrv.Service(), monitorsrv.Service()} {
		running, err := daemon.Start(ctx, s, daemon.Config{
			Registry: p.registry, Broker: p.broker, Insecure: true,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			return nil, err
		}
		p.daemons = append(p.daemons, running)
	}
	p.client = rpc.NewClient(rpc.Config{Registry: p.registry, Broker: p.broker})
	p.traces = tracepb.NewTraceService("go.micro.srv.trace", p.client)
	p.monitor = monitorpb.NewMonitorService("go.micro.srv.monitor", p.client)
	return p, p.openShop()
}

// openShop starts the services from the stock up to the customers, so that
// nobody calls what is not there yet.
func (p *platform) openShop() error {
	for _, open := range []func(*platform) (*node, error){
		stock("stock-1", time.Millisecond), stock("stock-2", 25*time.Millisecond),
		orders("orders-1", 0), orders("orders-2", 10),
		gateway("gateway-1"),
	} {
		n, err := open(p)
		if err != nil {
			return err
		}
		p.nodes = append(p.nodes, n)
	}
	var err error
	p.customers, err = newCustomers(p)
	return err
}

// stop ends the shop from the customers down, then what watches it.
func (p *platform) stop() error {
	var errs []error
	if p.customers != nil {
		errs = append(errs, p.customers.stop())
	}
	for i := len(p.nodes); i > 0; i-- {
		errs = append(errs, p.nodes[i-1].stop())
	}
	p.nodes, p.customers = nil, nil
	return errors.Join(errs...)
}

// stopDaemons ends what the report still asked after the shop was closed.
func (p *platform) stopDaemons() error {
	var errs []error
	if p.client != nil {
		p.client.Close()
	}
	for i := len(p.daemons); i > 0; i-- {
		errs = append(errs, p.daemons[i-1].Stop())
	}
	errs = append(errs, p.collector.close())
	if err := os.RemoveAll(p.logs); err != nil {
		errs = append(errs, fmt.Errorf("remove the logs: %w", err))
	}
	return errors.Join(errs...)
}
