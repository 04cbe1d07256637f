// Package srv is go.micro.srv.event, the service behind the default plugin
// of package event: an append-only log with durable subscriptions.
package srv

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
)

type settings struct {
	retention time.Duration
	maxBytes  int64
	window    time.Duration
	topic     string
}

// Service returns the service.
func Service() daemon.Service {
	// The defaults hold when it is booted without a command line, too.
	s := &settings{retention: 30 * 24 * time.Hour, window: time.Hour, topic: event.RecordTopic}
	return daemon.Service{
		Name: event.ServiceName,
		Usage: "keeps an append-only log of events and hands them to subscribers; " +
			"--database_url may also be nats://HOST:PORT/STREAM, with JetStream as the store",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "retention", Usage: "how long records are kept; 0 for ever", Value: s.retention, Destination: &s.retention, EnvVars: []string{"MICRO_EVENT_RETENTION"}},
			&cli.Int64Flag{Name: "max_bytes", Usage: "bytes of records that are kept; the oldest go first; 0 for no bound", Value: s.maxBytes, Destination: &s.maxBytes, EnvVars: []string{"MICRO_EVENT_MAX_BYTES"}},
			&cli.DurationFlag{Name: "dedupe_window", Usage: "how long the log knows an id again", Value: s.window, Destination: &s.window, EnvVars: []string{"MICRO_EVENT_DEDUPE_WINDOW"}},
			&cli.StringFlag{Name: "topic", Usage: "broker topic that records are also taken from, best effort; none when empty", Value: s.topic, Destination: &s.topic, EnvVars: []string{"MICRO_EVENT_TOPIC"}},
		},
		Check: func(env *daemon.Env) error { return errors.Join(s.validate(), env.CheckDatabase("nats")) },
		Start: s.start,
	}
}

func (s *settings) validate() error {
	switch {
	case s.retention != 0 && s.retention < time.Second:
		return errors.New("--retention: less than a second")
	case s.maxBytes < 0:
		return errors.New("--max_bytes: negative")
	case s.window < time.Second:
		return errors.New("--dedupe_window: less than a second")
	}
	return nil
}

func (s *settings) start(ctx context.Context, env *daemon.Env) error {
	store, err := s.open(ctx, env)
	if err != nil {
		return err
	}
	log, err := eventlog.Open(ctx, store, eventlog.Config{Retention: s.retention, MaxBytes: s.maxBytes, Logger: env.Logger})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	env.OnStop(func(context.Context) error { return log.Stop() })
	env.Ready("log", func(context.Context) error { return log.Ready() })
	if err := pb.RegisterEventHandler(env.Server, &handler{log: log, done: env.Done, streams: daemon.NewStreams(maxStreams)}); err != nil {
		return err
	}
	if s.topic == "" {
		return nil
	}
	in := newIntake(log, env)
	if err := env.Server.Subscribe(env.Server.NewSubscriber(s.topic, in.take)); err != nil {
		return err
	}
	var group lifecycle.Group
	env.OnStop(func(context.Context) error { return errors.Join(in.queue.Stop(), group.Stop(lifecycle.FlushTimeout)) })
	return errors.Join(in.queue.Start(), group.Start(in.report))
}

// open opens the store that the database URL names.
func (s *settings) open(ctx context.Context, env *daemon.Env) (eventlog.Store, error) {
	url, err := env.DatabaseAt()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(url, "nats:") {
		return openNATS(ctx, url, s, env)
	}
	file := databaseFile(url)
	torn, err := checkWAL(file) // before the database is opened, which cuts it off
	if err != nil {
		return nil, err
	}
	db, err := env.Database(ctx, migrations)
	if err != nil {
		return nil, err
	}
	return openSQL(ctx, db, file, torn, s.window, env.Logger)
}
