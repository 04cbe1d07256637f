package monitor

import (
	"context"
	"errors"
	"sync/atomic"

	"go-micro.dev/v6/client"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/monitor/proto"
)

// remote is go.micro.srv.monitor as the platform plugin sees it.
type remote struct {
	opts  Options
	nodes nodes // that are not ready, as far as we know
	held  rpc.Held

	down    atomic.Bool // the last report did not arrive
	refused bool        // the last report was; of the sender
	lost    atomic.Uint64
}

func newRemote(o Options) *remote {
	return &remote{opts: o, nodes: nodes{wanted: make(chan struct{})}}
}

func (r *remote) String() string { return "platform" }

func (r *remote) open() {
	r.held.Open(func() (client.Client, func()) { return rpc.Acquire(r.opts.Client, r.opts.TLS) })
}

func (r *remote) service() pb.MonitorService {
	c, _ := r.held.Get() // after the Close the call may fail
	return pb.NewMonitorService(ServiceName, c)
}

// Report implements plugin.Reporter.
func (r *remote) Report(ctx context.Context, report *pb.ReportRequest) error {
	_, err := r.service().Report(ctx, report, rpc.Options(sendTimeout)...)
	err = rpcerr.From(ctx, "report to "+ServiceName, err)
	r.down.Store(err != nil)
	switch {
	case err == nil:
		r.refused = false
		return nil
	case errors.Is(err, rpcerr.ErrInvalid) || errors.Is(err, rpcerr.ErrExists):
		r.refuse(report, err)
		return nil
	}
	return err
}

// refuse counts a report that would be refused again: another node goes by this
// id, or the two sides disagree on what is valid.
func (r *remote) refuse(report *pb.ReportRequest, err error) {
	r.lost.Add(uint64(len(report.Statuses) + len(report.Stats)))
	if !r.refused {
		r.opts.Logger.Warn("monitor reports are refused", "node", report.Service.Nodes[0].Id, "error", err)
	}
	r.refused = true
}

// publish feeds the topics while the service cannot be reached by RPC. Topics
// are best effort, and nobody can tell who published: go.micro.srv.monitor
// shows what they say, but it changes no route.
func (r *remote) publish(ctx context.Context, report *pb.ReportRequest) {
	c, _ := r.held.Get() // as in service
	send := func(topic string, m proto.Message) {
		_ = rpc.Publish(ctx, c, topic, m) // best effort: the queue tells that the server is away
	}
	send(StatusTopic, report.Current)
	for _, check := range report.Checks {
		check.Service = report.Service
		send(HealthCheckTopic, check)
	}
	for _, s := range report.Stats {
		send(StatsTopic, s)
	}
}
