package monitor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v5/client"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/monitor/proto"
)

// remote is go.micro.srv.monitor as the platform plugin sees it.
type remote struct {
	opts  options
	nodes nodes // that are not ready, as far as we know

	mu      sync.Mutex
	client  client.Client
	release func()
	closed  bool

	topics  fallback // of the sender
	refused bool     // the last report was; of the sender
	lost    atomic.Uint64
}

func newRemote(o options) *remote { return &remote{opts: o, nodes: newNodes()} }

func (r *remote) String() string { return "platform" }

// open acquires the client. It is idempotent and does nothing after close.
func (r *remote) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil && !r.closed {
		r.client, r.release = rpc.Acquire(r.opts.client, r.opts.tls)
	}
}

func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && !r.closed {
		r.release()
	}
	r.closed = true
}

func (r *remote) service() pb.MonitorService { return pb.NewMonitorService(ServiceName, r.client) }

// Report implements Reporter. What the service cannot take the topics carry
// too, once; it comes again until the service took it.
func (r *remote) Report(ctx context.Context, report *pb.ReportRequest) error {
	_, err := r.service().Report(ctx, report, rpc.Options(sendTimeout)...)
	switch code := call.Code(err); {
	case err == nil:
		r.refused = false
		return nil
	case code == 400 || code == 409:
		r.refuse(report, err)
		return nil
	}
	r.topics.publish(ctx, r.client, report)
	return rpcerr.From(ctx, "report to "+ServiceName, err)
}

// refuse counts a report that would be refused again: another node goes by this
// id, or the two sides disagree on what is valid.
func (r *remote) refuse(report *pb.ReportRequest, err error) {
	r.lost.Add(uint64(len(report.Statuses) + len(report.Stats)))
	if !r.refused {
		r.opts.logger.Warn("monitor reports are refused", "node", report.Service.Nodes[0].Id, "error", err)
	}
	r.refused = true
}

// fallback publishes reports that could not be delivered. Topics are best
// effort, and nobody can tell who published: go.micro.srv.monitor shows what
// they say, but it changes no route.
type fallback struct {
	status, stats uint64 // sequence numbers of the last that were published
	state         time.Time
}

// publish sends each transition and window once, and the state with a window or
// once in a second.
func (f *fallback) publish(ctx context.Context, c client.Client, r *pb.ReportRequest) {
	fresh := time.Since(f.state) >= time.Second
	for _, s := range r.Stats {
		if s.Seq > f.stats {
			f.stats, fresh = s.Seq, true
			send(ctx, c, StatsTopic, s)
		}
	}
	for _, s := range append(r.Statuses, r.Current) {
		if s.Seq > f.status || fresh && s == r.Current {
			f.status = s.Seq
			send(ctx, c, StatusTopic, s)
		}
	}
	if !fresh {
		return
	}
	f.state = time.Now()
	for _, check := range r.Checks {
		check = proto.CloneOf(check)
		check.Service = r.Service
		send(ctx, c, HealthCheckTopic, check)
	}
}

func send(ctx context.Context, c client.Client, topic string, msg proto.Message) {
	// Best effort: the queue tells of the server that is away.
	_ = c.Publish(ctx, c.NewMessage(topic, msg, client.WithMessageContentType("application/protobuf")))
}
