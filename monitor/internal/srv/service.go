// Package srv is go.micro.srv.monitor: it takes the reports of all nodes,
// keeps the present in memory and the history in a database, judges services
// as a whole and streams which nodes are not ready.
package srv

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// DefaultRetention is how long the history is kept.
const DefaultRetention = 7 * 24 * time.Hour

const (
	sweepInterval = 200 * time.Millisecond
	pruneInterval = 10 * time.Minute
	storeInterval = 100 * time.Millisecond // longest wait until a transition can be searched
)

// Service returns the service for daemon.Main and daemon.Start.
func Service() daemon.Service {
	var retention time.Duration
	return daemon.Service{
		Name:  monitor.ServiceName,
		Usage: "collects health checks, status and stats of all services, and judges them",
		Flags: []cli.Flag{&cli.DurationFlag{
			Name: "retention", Value: DefaultRetention, Destination: &retention, EnvVars: []string{"MICRO_RETENTION"},
			Usage: "how long the history is kept, at least 1m",
		}},
		Check: func(env *daemon.Env) error {
			if retention == 0 { // no flags were parsed: booted inside a process
				retention = DefaultRetention
			}
			if retention < time.Minute {
				return fmt.Errorf("--retention %v: want at least 1m", retention)
			}
			return env.CheckDatabase()
		},
		Start: func(ctx context.Context, env *daemon.Env) error { return start(ctx, env, retention) },
	}
}

func start(ctx context.Context, env *daemon.Env, retention time.Duration) error {
	db, err := env.Database(ctx, migrations)
	if err != nil {
		return err
	}
	store := &sqlStore{db}
	history := batch.New(batch.Config[change]{
		Name: "history entries", One: "history entry", Interval: storeInterval, Logger: env.Logger, Send: func(ctx context.Context, all []change) error {
			return env.Worked("write the history", store.Append(ctx, all))
		},
	})
	record := func(c change) { _ = history.Add(c) } // a full queue counts and logs by itself
	h := &handler{state: newState(record), store: store, done: env.Done, holds: env.Holds, watchers: daemon.NewStreams(maxWatchers)}
	known, err := store.Nodes(ctx, time.Now().Add(-forgetAfter))
	if err != nil {
		return err
	}
	h.state.restore(known, time.Now())
	if err := pb.RegisterMonitorHandler(env.Server, h); err != nil {
		return err
	}
	if err := h.subscribe(env.Server); err != nil {
		return err
	}
	group := &lifecycle.Group{}
	env.OnStop(func(context.Context) error { return history.Stop() })
	env.OnStop(func(context.Context) error { return group.Stop(lifecycle.FlushTimeout) })
	if err := history.Start(); err != nil {
		return err
	}
	return group.Start(h.sweep, func(ctx context.Context) { prune(ctx, env, store, retention) })
}

func (h *handler) sweep(ctx context.Context) {
	lifecycle.Every(ctx, sweepInterval, func() { h.state.sweep(time.Now()) })
}

func prune(ctx context.Context, env *daemon.Env, store Store, retention time.Duration) {
	ticker := time.NewTicker(min(pruneInterval, retention))
	defer ticker.Stop()
	for {
		if err := store.Prune(ctx, time.Now().Add(-retention)); ctx.Err() == nil {
			_ = env.Worked("prune the history", err) // which tells of it
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
