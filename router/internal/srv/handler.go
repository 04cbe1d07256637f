package srv

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/router"
	pb "github.com/micro/go-platform/router/proto"
)

// handler is Router of go.micro.srv.router.
type handler struct {
	engine  *engine
	find    func(service string) // ask the registry for what is not known
	done    <-chan struct{}
	holds   func(ctx context.Context, service string) error // see daemon.Env.Holds
	streams *daemon.Streams
}

func refuse(err error) error { return rpcerr.To(router.ServiceName, err) }

// Report implements pb.RouterHandler.
func (h *handler) Report(ctx context.Context, req *pb.ReportRequest, _ *pb.ReportResponse) error {
	if n := proto.Size(req); n > maxReport {
		return refuse(rpcerr.Invalid("report", "%d bytes, more than %d", n, maxReport))
	}
	if err := checkReport(req); err != nil {
		return refuse(err)
	}
	id, err := h.identify(ctx, req.Caller)
	if err != nil {
		return refuse(err)
	}
	return refuse(h.engine.report(id, req, time.Now()))
}

// Select implements pb.RouterHandler.
func (h *handler) Select(ctx context.Context, req *pb.SelectRequest, rsp *pb.SelectResponse) error {
	if err := checkName("service", req.Service, maxService); err != nil {
		return refuse(err)
	}
	id, err := h.asker(ctx, req)
	if err != nil {
		return refuse(err)
	}
	h.find(req.Service)
	answer, err := h.engine.answer(req.Service, id, time.Now())
	if err != nil {
		return refuse(err)
	}
	for _, k := range req.Known {
		if k.GetService() == answer.Service && k.Epoch == answer.Epoch && k.Revision == answer.Revision {
			answer = &pb.SelectResponse{
				Service: answer.Service, Epoch: answer.Epoch, Revision: answer.Revision, Expires: never,
				KeepaliveMs: answer.KeepaliveMs, Unchanged: true,
			}
		}
	}
	proto.Merge(rsp, answer)
	return nil
}

// asker is who asks, nil when the request does not say.
func (h *handler) asker(ctx context.Context, req *pb.SelectRequest) (*identity, error) {
	if req.Caller == nil {
		return nil, nil
	}
	id, err := h.identify(ctx, req.Caller)
	if err != nil {
		return nil, err
	}
	return &id, h.engine.vouch(id, time.Now())
}

// answer is what is known of a service now; who asks counts as a caller for a
// while.
func (e *engine) answer(service string, id *identity, now time.Time) (*pb.SelectResponse, error) {
	t, err := e.table(service, now)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.view.of.registry == nil && e.derive(t, now) { // it may just have been found
		e.publish()
	}
	if id == nil {
		return t.answerFor(nil, now), nil
	}
	p, err := t.part(*id, false)
	if err != nil {
		return nil, err
	}
	p.until = now.Add(presence)
	if e.share(t, e.clock.slot(now)) {
		e.publish()
	}
	return t.answerFor(p, now), nil
}

// Stats implements pb.RouterHandler.
func (h *handler) Stats(_ context.Context, req *pb.StatsRequest, rsp *pb.StatsResponse) error {
	if err := firstOf(
		page.Check(&req.Limit, &req.Offset),
		checkOptional("service", req.Service, maxService),
		checkOptional("client", req.Client, maxNode),
	); err != nil {
		return refuse(err)
	}
	now := time.Now()
	var found []*pb.Stats
	for _, t := range h.engine.all() {
		if req.Service == "" || t.name == req.Service {
			found = append(found, t.stats(req, h.engine.window, h.engine.clock.slot(now))...)
		}
	}
	slices.SortFunc(found, func(a, b *pb.Stats) int {
		return cmp.Or(cmp.Compare(a.Service.Name, b.Service.Name), cmp.Compare(clientOf(a), clientOf(b)))
	})
	rsp.Stats = page.Cut(found, req.Limit, req.Offset)
	for _, s := range rsp.Stats {
		s.Timestamp = now.Unix()
	}
	return nil
}

func clientOf(s *pb.Stats) string {
	for _, n := range s.GetClient().GetNodes() {
		return n.Id
	}
	return ""
}

// vouch refuses who uses the name of a caller on another host.
func (e *engine) vouch(id identity, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.callers[id.node]; c != nil && !c.topic && !c.silent(now) && (c.host != id.host || c.service != id.service) {
		return fmt.Errorf("caller.node: %w: another host or service reports as %s", rpcerr.ErrExists, id.node)
	}
	return nil
}
