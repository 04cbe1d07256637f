package srv

import (
	"context"
	"log/slog"
	"time"

	pb "github.com/micro/go-platform/router/proto"
)

// pollInterval is how long the writes of another router-srv on the same
// database stay unknown.
const pollInterval = 500 * time.Millisecond

// policy is an immutable copy of the store, by service.
type policy struct {
	change int64
	rules  map[string][]*pb.RuleSet  // in the order in which they decide
	labels map[string][]*pb.LabelSet // likewise
	limits map[string]*pb.LimitSet
}

// load reads the store. The number of changes comes first: a write in between
// is read twice rather than never.
func load(ctx context.Context, s Store) (*policy, error) {
	change, err := s.Changes(ctx)
	if err != nil {
		return nil, err
	}
	p := &policy{
		change: change, rules: make(map[string][]*pb.RuleSet),
		labels: make(map[string][]*pb.LabelSet), limits: make(map[string]*pb.LimitSet),
	}
	for _, k := range []kind{ruleKind, labelKind} {
		sets, err := s.SearchSets(ctx, query{kind: k, limit: maxSets})
		if err != nil {
			return nil, err
		}
		for _, v := range sets {
			if k == ruleKind {
				p.rules[v.service] = append(p.rules[v.service], v.rule())
			} else {
				p.labels[v.service] = append(p.labels[v.service], v.label())
			}
		}
	}
	limits, err := s.SearchLimits(ctx, "", maxLimits, 0)
	for _, l := range limits {
		p.limits[l.Service] = l
	}
	return p, err
}

// follower keeps the engine's policy that of the store.
type follower struct {
	engine *engine
	store  Store
	wrote  chan struct{} // of one: this router-srv changed the store
	logger *slog.Logger
}

// written has the store read again at once.
func (f *follower) written() {
	select {
	case f.wrote <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	lost := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-f.wrote:
		}
		err := f.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !lost:
			f.logger.Warn("cannot read the store, going on with what is known", "error", err)
		case err == nil && lost:
			f.logger.Info("the store can be read again")
		}
		lost = err != nil
	}
}

// refresh reads the store if it changed, and tells the streams.
func (f *follower) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	change, err := f.store.Changes(ctx)
	if err != nil || change == f.engine.policy.Load().change {
		return err
	}
	p, err := load(ctx, f.store)
	if err != nil {
		return err
	}
	f.engine.policy.Store(p)
	f.engine.tick(time.Now())
	return nil
}
