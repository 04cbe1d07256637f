package srv

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// handler is go.micro.srv.monitor.
type handler struct {
	state    *state
	store    Store
	done     <-chan struct{}
	holds    func(ctx context.Context, service string) error // see daemon.Env.Holds
	watchers *daemon.Streams
}

// maxReport bounds one report, in bytes.
const maxReport = 4 << 20

func refuse(err error) error { return rpcerr.To(monitor.ServiceName, err) }

// Report implements pb.MonitorHandler.
func (h *handler) Report(ctx context.Context, req *pb.ReportRequest, _ *pb.ReportResponse) error {
	if n := proto.Size(req); n > maxReport {
		return refuse(rpcerr.Invalid("report", "%d bytes, more than %d", n, maxReport))
	}
	if err := checkReport(req); err != nil {
		return refuse(err)
	}
	if err := h.holds(ctx, req.Service.Name); err != nil { // a false report takes a service off its callers' lists
		return refuse(err)
	}
	return refuse(h.state.report(req, reporter(ctx), time.Now()))
}

// reporter returns the name of the caller: its account, under which a node may
// come back on another host, or its host where there are no accounts.
func reporter(ctx context.Context) string {
	if t, ok := auth.TokenFromContext(ctx); ok && t.Account() != "" {
		return "account " + t.Account()
	}
	return "host " + daemon.PeerHost(ctx)
}

// HealthChecks implements pb.MonitorHandler.
func (h *handler) HealthChecks(_ context.Context, req *pb.HealthChecksRequest, rsp *pb.HealthChecksResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	var found []*pb.HealthCheck
	for _, n := range h.state.sorted(req.Service, req.Node) {
		for _, c := range n.sortedChecks() {
			if (req.Id == "" || c.Id == req.Id) && (req.Status == nil || c.Status == *req.Status) {
				found = append(found, c)
			}
		}
	}
	rsp.Healthchecks = page.Cut(found, req.Limit, req.Offset)
	return nil
}

// Services implements pb.MonitorHandler.
func (h *handler) Services(_ context.Context, req *pb.ServicesRequest, rsp *pb.ServicesResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	rsp.Services = page.Cut(services(h.state.sorted(req.Service, "")), req.Limit, req.Offset)
	return nil
}

// Status implements pb.MonitorHandler.
func (h *handler) Status(_ context.Context, req *pb.StatusRequest, rsp *pb.StatusResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	var found []*pb.Status
	for _, n := range h.state.sorted(req.Service, req.Node) {
		if req.Status == nil || n.status == *req.Status {
			found = append(found, n.wireStatus())
		}
	}
	rsp.Statuses = page.Cut(found, req.Limit, req.Offset)
	return nil
}

// Stats implements pb.MonitorHandler.
func (h *handler) Stats(_ context.Context, req *pb.StatsRequest, rsp *pb.StatsResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	var found []*pb.Stats
	for _, n := range h.state.sorted(req.Service, req.Node) {
		if n.stats != nil {
			found = append(found, n.stats)
		}
	}
	rsp.Stats = page.Cut(found, req.Limit, req.Offset)
	return nil
}

// Verdicts implements pb.MonitorHandler.
func (h *handler) Verdicts(_ context.Context, req *pb.VerdictsRequest, rsp *pb.VerdictsResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	var found []*pb.Verdict
	for _, v := range verdicts(h.state.sorted("", ""), time.Now()) {
		if (req.Service == "" || v.Service == req.Service) && (req.State == nil || v.State == *req.State) {
			found = append(found, v)
		}
	}
	rsp.Verdicts = page.Cut(found, req.Limit, req.Offset)
	return nil
}

// History implements pb.MonitorHandler.
func (h *handler) History(ctx context.Context, req *pb.HistoryRequest, rsp *pb.HistoryResponse) (err error) {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	if req.FromMs < 0 || req.ToMs < 0 {
		return refuse(rpcerr.Invalid("from_ms", "it or to_ms is negative"))
	}
	for field, value := range map[string]string{"service": req.Service, "node": req.Node, "check": req.Check, "to": req.To} {
		if value != "" && !clean.Name(value, 512) {
			return refuse(rpcerr.Invalid(field, "not 1 to 512 printable characters"))
		}
	}
	rsp.Transitions, err = h.store.History(ctx, req)
	return refuse(err)
}
