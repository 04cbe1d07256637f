// Package srv is go.micro.srv.router, the service behind the default
// plugin of package router.
//
// Callers report what they measured of the nodes they called (Router.Report);
// router-srv adds that up and answers, per service, a list of nodes with
// weights and ejections, the rules and labels in force, and the caller's share
// of the central limits (Router.Select, Router.SelectStream).
//
// # What is derived, and of what
//
// Reports count for ten seconds (--window), in steps of a fifth of it. Each
// caller compares the nodes it called with each other, so that a slow network
// or a broken caller blames nobody; then the callers are asked together:
//
//   - The weight of a node is the median of the callers' scores: the typical
//     latency within the node's zone over the node's, times the square of its
//     success rate over the typical one. It moves by seven tenths a second and
//     never falls below 5 of 100, or 50 when fewer than three callers know.
//     The callers of one machine count as one.
//   - A node is ejected when at least three callers (--min_callers) called it
//     often enough and those on most of their machines, two at least, find it an
//     outlier by the tests of Envoy's outlier detection.
//     An ejection lasts 10 s (--ejection) times the number of ejections so far,
//     at most 5 minutes, plus up to a quarter at random. Half of the nodes stay,
//     whatever the callers say. Behind a single caller, or two, nothing is
//     ejected here: that is what the breaker in the client is for.
//   - A central limit is divided among the callers that reported, asked or have
//     a stream: a fifth evenly, the rest max-min fair by what each wanted. The
//     shares add up to the limit. A caller that is gone gives its share back
//     when its last report is ten seconds old and its stream two seconds over.
//
// All of this is in memory and begins anew after a restart: weights are 100 and
// nobody is ejected until reports say otherwise, within two or three windows.
// Rules, labels and limits are in the database.
//
// # Several instances
//
// They share the database: a rule written at one is in force at the others half
// a second later. They do not share reports. Callers spread theirs over the
// instances, so that each judges by a sample; rates are taken over the time that
// reports cover, not over the clock, and stay true. Instances may disagree for a
// while on an ejection, and the shares that two of them hand out may exceed a
// limit by what their samples differ. With n instances a node needs n times the
// calls until it is judged.
//
// # Who is believed
//
// A caller is who its request says, see identify; a name is bound to the host
// that used it until it falls silent. What one caller says moves nothing: it
// takes a majority. What the topic says is shown in Router.Stats and decides
// nothing, since anybody can publish. Callers that make themselves up by the
// dozen from several machines can eject up to half of a service and claim
// shares: only authenticated calls keep them out.
package srv

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/router"
	pb "github.com/micro/go-platform/router/proto"
)

const (
	tickInterval = 200 * time.Millisecond // longest wait until what is derived is told
	lossInterval = 5 * time.Second
)

// options are what the flags say.
type options struct {
	settings
	topic string
}

// Service returns the service for daemon.Main and daemon.Start.
func Service() daemon.Service {
	// The defaults hold when it is booted without a command line, too.
	o := &options{settings{window: 10 * time.Second, minCallers: 3, ejection: 10 * time.Second, retryRatio: 0.2}, router.StatsTopic}
	return daemon.Service{
		Name:  router.ServiceName,
		Usage: "tells clients where their calls go: nodes, weights, ejections, rules, labels and limits",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "window", Usage: "how long reports count, 1s to 10m", Value: o.window, Destination: &o.window, EnvVars: []string{"MICRO_ROUTER_WINDOW"}},
			&cli.IntFlag{Name: "min_callers", Usage: "how many callers must know a node before it is ejected", Value: o.minCallers, Destination: &o.minCallers, EnvVars: []string{"MICRO_ROUTER_MIN_CALLERS"}},
			&cli.DurationFlag{Name: "ejection", Usage: "how long a node is ejected the first time, 1s to 5m", Value: o.ejection, Destination: &o.ejection, EnvVars: []string{"MICRO_ROUTER_EJECTION"}},
			&cli.Float64Flag{Name: "retry_ratio", Usage: "retries as a part of calls, 0 to 1, where no limit says otherwise", Value: o.retryRatio, Destination: &o.retryRatio, EnvVars: []string{"MICRO_ROUTER_RETRY_RATIO"}},
			&cli.StringFlag{Name: "topic", Usage: "broker topic that stats are also taken from", Value: o.topic, Destination: &o.topic, EnvVars: []string{"MICRO_ROUTER_TOPIC"}},
		},
		Check: func(env *daemon.Env) error { return errors.Join(o.validate(), env.CheckDatabase()) },
		Start: o.start,
	}
}

func (o *options) validate() error {
	switch {
	case o.window < time.Second || o.window > 10*time.Minute:
		return errors.New("--window: not within 1s and 10m")
	case o.minCallers < 1:
		return errors.New("--min_callers: less than 1")
	case o.ejection < time.Second || o.ejection > maxEjection:
		return errors.New("--ejection: not within 1s and 5m")
	case !(o.retryRatio >= 0 && o.retryRatio <= 1):
		return errors.New("--retry_ratio: not within 0 and 1")
	case o.topic == "":
		return errors.New("--topic: empty")
	}
	return nil
}

func (o *options) start(ctx context.Context, env *daemon.Env) error {
	db, err := env.Database(ctx, migrations)
	if err != nil {
		return err
	}
	store := &sqlStore{db}
	cache := regcache.New(env.Registry, regcache.Logger(env.Logger))
	a := newAtlas(cache)
	e := newEngine(o.settings, a.nodes, a.want, time.Now())
	p, err := load(ctx, store)
	if err != nil {
		return err
	}
	e.policy.Store(p)
	f := &follower{engine: e, store: store, wrote: make(chan struct{}, 1), logger: env.Logger}
	in := &intake{engine: e, holds: env.Holds}
	h := &handler{engine: e, find: a.find, done: env.Done, holds: env.Holds, streams: daemon.NewStreams(maxStreams)}
	if err := register(env, h, keeper{store, f.written}, o.topic, in); err != nil {
		return err
	}
	env.OnStop(func(context.Context) error { return cache.Stop() })
	if err := cache.Start(); err != nil {
		return err
	}
	group := &lifecycle.Group{}
	env.OnStop(func(context.Context) error { return group.Stop(lifecycle.FlushTimeout) })
	return group.Start(f.run, a.run,
		func(ctx context.Context) { lifecycle.Every(ctx, tickInterval, func() { e.tick(time.Now()) }) },
		func(ctx context.Context) {
			lifecycle.Every(ctx, lossInterval, func() { in.bad.Report(env.Logger, "stats of the topic", "not valid or no room") })
		},
	)
}

func register(env *daemon.Env, h *handler, k keeper, topic string, in *intake) error {
	return firstOf(
		pb.RegisterRouterHandler(env.Server, h),
		pb.RegisterRuleHandler(env.Server, rules{k}),
		pb.RegisterLabelHandler(env.Server, labels{k}),
		pb.RegisterLimitHandler(env.Server, limits{k}),
		env.Server.Subscribe(env.Server.NewSubscriber(topic, in.take)),
	)
}
