package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
)

// DefaultPropagation is how long a Shutdown waits for callers to learn that the
// node is gone.
const DefaultPropagation = time.Second

// Shutdown ends a service in the order that costs no call: DRAINING is reported,
// the node leaves the registry, callers get time to learn it, calls in flight
// end, Leave is called, streams end, the server and its subscribers stop, what
// is left to flush is flushed, and STOPPED is reported. go-micro's own Stop
// leaves out the waiting: callers go on calling for as long as they have the
// node cached.
type Shutdown struct {
	// Propagation is DefaultPropagation unless set. It should exceed the time
	// that the registry's watchers take.
	Propagation time.Duration
	// Logger hears what the functions and the monitor lost. The default is
	// slog.Default(). Stop the log that it writes to only after Stop has
	// returned.
	Logger *slog.Logger
	// Leave is called, unless nil, when nothing but streams is left in flight,
	// while the server still serves. What other nodes need of this one is handed
	// over then, and streams are told to end: the Stop of a KV does both.
	Leave func() error

	monitor Monitor
	server  server.Server
	flush   []func() error
	calls   atomic.Int64
	streams atomic.Int64
	once    sync.Once
	err     error
}

// NewShutdown returns the shutdown of a service. The functions, for example the
// Stop of a Trace and of Metrics, are called in order when no call is left. The
// Log is not among them: it is stopped last of all.
func NewShutdown(m Monitor, s server.Server, flush ...func() error) *Shutdown {
	return &Shutdown{Propagation: DefaultPropagation, monitor: m, server: s, flush: flush}
}

// HandlerWrapper counts the calls in flight; without it Stop does not wait for
// them.
func (s *Shutdown) HandlerWrapper() server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			count := &s.calls
			if req.Stream() {
				count = &s.streams
			}
			count.Add(1)
			defer count.Add(-1)
			return next(ctx, req, rsp)
		}
	}
}

// InFlight returns how many calls and streams are being handled.
func (s *Shutdown) InFlight() int64 { return s.calls.Load() + s.streams.Load() }

// Stop ends the service. When ctx ends it waits no longer, but still does all
// the rest. It is idempotent. Its error joins those of all steps but for each
// ErrLost, which is logged as a warning: a service must not fail because nobody
// takes its metrics.
func (s *Shutdown) Stop(ctx context.Context) error {
	s.once.Do(func() { s.err = s.stop(ctx) })
	return s.err
}

func (s *Shutdown) stop(ctx context.Context) error {
	errs := []error{s.monitor.Drain(), s.depart()}
	timer := time.NewTimer(s.Propagation)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	errs = append(errs, idle(ctx, "call", &s.calls))
	if s.Leave != nil {
		errs = append(errs, s.Leave())
	}
	errs = append(errs, idle(ctx, "stream", &s.streams), s.stopServer(ctx))
	for _, flush := range s.flush {
		errs = append(errs, flush())
	}
	lost, other := lifecycle.Split(errors.Join(append(errs, s.monitor.Stop())...))
	if lost != nil {
		s.logger().Warn("stopped, and something is lost", "error", clean.Error(lost, 4<<10))
	}
	return other
}

func (s *Shutdown) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}

// stopServer does not wait for a server that does not stop: go-micro's may wait
// for a handler that never returns.
func (s *Shutdown) stopServer(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() { stopped <- s.server.Stop() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	select {
	case err := <-stopped:
		return err
	case <-timer.C:
		return fmt.Errorf("monitor: the server did not stop: %w", ctx.Err())
	}
}

// idle waits until none is in flight.
func idle(ctx context.Context, what string, count *atomic.Int64) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		n := count.Load()
		if n == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if n == 1 {
				return fmt.Errorf("monitor: 1 %s was still in flight: %w", what, ctx.Err())
			}
			return fmt.Errorf("monitor: %d %ss were still in flight: %w", n, what, ctx.Err())
		}
	}
}

// deregister takes the node out of the registry while the server still serves.
func (s *Shutdown) deregister() error {
	o := s.server.Options()
	o.Registry = leaving{o.Registry}
	services, err := o.Registry.GetService(o.Name)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("monitor: leave the registry: %w", err)
	}
	for _, service := range services {
		for _, node := range service.Nodes {
			if node.Id != o.Name+"-"+o.Id {
				continue
			}
			gone := &registry.Service{Name: service.Name, Version: service.Version, Nodes: []*registry.Node{node}}
			if err := o.Registry.Deregister(gone); err != nil {
				return fmt.Errorf("monitor: leave the registry: %w", err)
			}
		}
	}
	return nil
}
