// Package srv is go.micro.srv.trace, the service behind the default
// plugin of package trace: it stores spans, searches them, and shows traces as
// trees and services as a graph.
package srv

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
	"github.com/micro/go-platform/trace"
	pb "github.com/micro/go-platform/trace/proto"
)

type settings struct {
	retention time.Duration
	maxSpans  int64
	topic     string
}

// Service returns the service.
func Service() daemon.Service {
	// The defaults hold when it is booted without a command line, too.
	s := &settings{retention: 72 * time.Hour, maxSpans: 1_000_000, topic: trace.TraceTopic}
	return daemon.Service{
		Name:  trace.ServiceName,
		Usage: "stores the spans of traced services and answers questions about them",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "retention", Usage: "how long spans are kept", Value: s.retention, Destination: &s.retention, EnvVars: []string{"MICRO_TRACE_RETENTION"}},
			&cli.Int64Flag{Name: "max_spans", Usage: "how many spans are kept; the oldest go first", Value: s.maxSpans, Destination: &s.maxSpans, EnvVars: []string{"MICRO_TRACE_MAX_SPANS"}},
			&cli.StringFlag{Name: "topic", Usage: "broker topic that spans are also taken from", Value: s.topic, Destination: &s.topic, EnvVars: []string{"MICRO_TRACE_TOPIC"}},
		},
		Check: func(env *daemon.Env) error { return errors.Join(s.validate(), env.CheckDatabase()) },
		Start: s.start,
	}
}

func (s *settings) validate() error {
	switch {
	case s.retention < time.Second:
		return errors.New("--retention: less than a second")
	case s.maxSpans <= 0:
		return errors.New("--max_spans: not positive")
	case s.topic == "":
		return errors.New("--topic: empty")
	}
	return nil
}

func (s *settings) start(ctx context.Context, env *daemon.Env) error {
	db, err := env.Database(ctx, migrations)
	if err != nil {
		return err
	}
	st := newSQLStore(db)
	if err := pb.RegisterTraceHandler(env.Server, &handler{st, env.Holds}); err != nil {
		return err
	}
	in := newIntake(st, env)
	if err := env.Server.Subscribe(env.Server.NewSubscriber(s.topic, in.take)); err != nil {
		return err
	}
	every := min(max(s.retention/10, 100*time.Millisecond), time.Minute)
	var group lifecycle.Group
	env.OnStop(func(context.Context) error { return errors.Join(in.queue.Stop(), group.Stop(lifecycle.FlushTimeout)) })
	return errors.Join(
		in.queue.Start(),
		group.Start(retention{st, s.retention, s.maxSpans, every, env.Logger}.run, in.report),
	)
}

// intake takes spans from the topic, which anyone may publish to.
type intake struct {
	queue *batch.Queue[*record]
	bad   loss.Counter
	env   *daemon.Env
}

func newIntake(st store, env *daemon.Env) *intake {
	return &intake{env: env, queue: batch.New(batch.Config[*record]{
		Name:     "spans of the topic",
		One:      "span of the topic",
		Size:     500,
		Interval: 100 * time.Millisecond,
		Capacity: 10_000,
		Logger:   env.Logger,
		Send: func(ctx context.Context, all []*record) error {
			return env.Worked("write spans of the topic", st.Insert(ctx, all))
		},
	})}
}

// take never fails: what is dropped is counted and logged here.
func (in *intake) take(ctx context.Context, s *pb.Span) error {
	r, err := newRecord(s, time.Now().UnixMicro())
	if err == nil {
		err = mine(ctx, in.env.Holds, r)
	}
	if err != nil {
		in.bad.Add(1)
		return nil //nolint:nilerr // see above
	}
	_ = in.queue.Add(r) // the queue counts what it drops
	return nil
}

func (in *intake) report(ctx context.Context) {
	lifecycle.Every(ctx, 5*time.Second, func() { in.bad.Report(in.env.Logger, "spans of the topic", "not valid") })
}
