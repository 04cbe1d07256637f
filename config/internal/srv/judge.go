package srv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/micro/go-platform/config"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	mpb "github.com/micro/go-platform/monitor/proto"
)

const (
	judgeInterval   = time.Second
	defaultMinCalls = 20
)

// judge ends rollouts that make calls fail.
type judge struct {
	handler *handler
	monitor mpb.MonitorService
	log     *slog.Logger
	cases   map[int64]*trial // by the revision that is rolled out
	away    bool
}

// trial is what was measured since a rollout began.
type trial struct {
	begun         bool
	seen          map[string]uint64 // the newest window of each node
	with, without calls
}

type calls struct{ failed, all int64 }

func (c calls) rate() float64 { return 100 * float64(c.failed) / float64(max(c.all, 1)) }

// loop looks at the rollouts every second.
func (j *judge) loop(ctx context.Context) {
	lifecycle.Every(ctx, judgeInterval, func() {
		current := make(map[int64]*trial)
		for _, d := range j.handler.state.now.Load().docs {
			if d.rollout.GetRollout().GetAbort() == nil {
				continue
			}
			t := j.cases[d.rollout.Revision]
			if t == nil {
				t = &trial{seen: make(map[string]uint64)}
			}
			current[d.rollout.Revision] = t
			j.report(ctx, j.look(ctx, d.doc, t))
		}
		j.cases = current
	})
}

// report logs once that rollouts cannot be judged; they go on as they are.
func (j *judge) report(ctx context.Context, err error) {
	if err != nil && !j.away && ctx.Err() == nil {
		j.log.Warn("cannot judge rollouts, they stay as they are", "error", err)
	}
	j.away = err != nil
}

// look counts the calls of the newest windows and decides.
func (j *judge) look(ctx context.Context, d *doc, t *trial) error {
	abort := d.rollout.Rollout.Abort
	rsp, err := j.monitor.Stats(ctx, &mpb.StatsRequest{Service: abort.Service, Limit: 1000}, rpc.Options(rpc.DefaultTimeout)...)
	if err != nil {
		return rpcerr.From(ctx, "read stats of "+abort.Service, err)
	}
	for _, s := range rsp.Stats {
		t.count(s, func(node string) bool { return chosen(d.rollout, node, j.handler.instances.labels(node)) })
	}
	t.begun = true
	why := t.verdict(abort)
	if why == "" {
		return nil
	}
	_, err = j.handler.roll(ctx, &pb.RolloutRequest{Id: d.id, Action: pb.RolloutRequest_ABORT, Comment: why}, config.ServiceName, d.rollout.Revision)
	if err = rpcerr.From(ctx, "abort the rollout of "+d.id, err); err != nil && !errors.Is(err, rpcerr.ErrConflict) {
		return err // else somebody else ended it
	}
	j.log.Warn("rollout aborted", "config", d.id, "revision", d.rollout.Revision, "reason", why)
	return nil
}

// count adds a window that is new. Windows of before the rollout are only noted.
func (t *trial) count(s *mpb.Stats, with func(node string) bool) {
	if len(s.GetService().GetNodes()) == 0 {
		return
	}
	node := s.Service.Nodes[0].Id
	last, known := t.seen[node]
	t.seen[node] = s.Seq
	if known && last == s.Seq || !known && !t.begun {
		return
	}
	group := &t.without
	if with(node) {
		group = &t.with
	}
	for _, e := range s.Endpoints {
		if e.Side != mpb.Endpoint_SERVER {
			continue
		}
		failed := e.GetErrors().GetCount() + e.GetDropped().GetCount()
		group.failed += failed
		group.all += failed + e.GetSuccess().GetCount()
	}
}

// verdict returns why to abort, or "".
func (t *trial) verdict(a *pb.Abort) string {
	enough := a.MinCalls
	if enough == 0 {
		enough = defaultMinCalls
	}
	if t.with.all < enough {
		return ""
	}
	rate := t.with.rate()
	if a.MaxError > 0 && rate > a.MaxError {
		return fmt.Sprintf("%.1f%% of %d calls failed on instances with the change, more than %g%%", rate, t.with.all, a.MaxError)
	}
	if a.MaxIncrease > 0 && t.without.all >= enough && rate > t.without.rate()+a.MaxIncrease {
		return fmt.Sprintf("%.1f%% of %d calls failed on instances with the change, %.1f%% of %d on those without, a difference of more than %g",
			rate, t.with.all, t.without.rate(), t.without.all, a.MaxIncrease)
	}
	return ""
}
