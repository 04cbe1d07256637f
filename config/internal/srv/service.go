// Package srv is go.micro.srv.config: it keeps configs with all that they
// ever were, merges what they inherit, and streams them to the instances that use
// them, to some of them first when asked to.
package srv

import (
	"context"

	"github.com/micro/go-platform/config"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/monitor"
	mpb "github.com/micro/go-platform/monitor/proto"
)

// Service returns the service for daemon.Main and daemon.Start.
func Service() daemon.Service {
	return daemon.Service{
		Name:  config.ServiceName,
		Usage: "keeps configurations with their history and streams them to services",
		Check: func(env *daemon.Env) error { return env.CheckDatabase() },
		Start: start,
	}
}

func start(ctx context.Context, env *daemon.Env) error {
	db, err := env.Database(ctx, migrations)
	if err != nil {
		return err
	}
	s := newState(&sqlStore{db}, env.Logger)
	if err := s.refresh(ctx); err != nil {
		return err
	}
	env.Ready("writes", s.ready)
	h := &handler{state: s, done: env.Done, watchers: daemon.NewStreams(maxWatchers)}
	if err := pb.RegisterConfigHandler(env.Server, h); err != nil {
		return err
	}
	j := &judge{handler: h, monitor: mpb.NewMonitorService(monitor.ServiceName, env.Client), log: env.Logger}
	group := &lifecycle.Group{}
	env.OnStop(func(context.Context) error { return group.Stop(lifecycle.FlushTimeout) })
	return group.Start(s.follow, s.probe, j.loop)
}
