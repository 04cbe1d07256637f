// This file, with Tracer, holds what plugins are made of. Those who trace need
// none of it.

package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/loss"
)

// NewOptions returns the defaults with opts applied.
func NewOptions(opts ...Option) Options {
	o := Options{
		BatchSize:      DefaultBatchSize,
		BatchInterval:  DefaultBatchInterval,
		CollectTimeout: 5 * time.Second,
		QueueSize:      10000,
		Topic:          TraceTopic,
		SampleRatio:    1,
		Formats:        W3C,
		Legacy:         XMicro,
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Exporter is where the spans of a Plugin go.
type Exporter interface {
	// Start is called once, before the first Export. It must not wait for the
	// server.
	Start() error
	// Export delivers the spans before ctx ends. An error means that none
	// arrived and that the same ones come again, unless it is a *RejectedError.
	// Export is called by one goroutine at a time and must not keep the slice.
	// To read the annotations of a span it holds the span's lock.
	Export(ctx context.Context, spans []*Span) error
	// Stop is called after the last Export, if Start was called.
	Stop() error
}

// RejectedError is returned by an Export whose server will never take some of
// the spans. They are counted as dropped, and none comes again.
type RejectedError struct {
	Count  int
	Reason string
}

// Error implements error.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d spans rejected: %s", e.Count, e.Reason)
}

func (e *RejectedError) add(n int, reason string) {
	if e.Count == 0 {
		e.Reason = reason
	}
	e.Count += n
}

// Plugin is a Trace that sends its spans in batches to an Exporter: a bounded
// queue, one sender, retries with backoff, loss counted.
type Plugin struct {
	*Tracer
	name     string
	options  Options
	exporter Exporter
	queue    *batch.Queue[*Span]
	rejected loss.Counter
	// collected sees every span that was queued or dropped, if set.
	collected func(*Span)

	mu      sync.Mutex
	started bool
	stopped bool
	stop    func() error
}

// NewPlugin returns a plugin of the name with the options.
func NewPlugin(name string, exporter Exporter, o Options) *Plugin {
	p := &Plugin{Tracer: NewTracer(o), name: name, options: o, exporter: exporter}
	p.queue = batch.New(batch.Config[*Span]{
		Name:     "spans",
		Size:     o.BatchSize,
		Interval: o.BatchInterval,
		Capacity: o.QueueSize,
		Timeout:  o.CollectTimeout,
		Logger:   o.Logger,
		Send:     p.send,
	})
	p.stop = sync.OnceValue(p.shutdown)
	return p
}

// Start implements Trace.
func (p *Plugin) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		if err := p.options.Validate(); err != nil {
			return err
		}
		if p.stopped {
			return ErrStopped
		}
		if err := p.exporter.Start(); err != nil {
			return fmt.Errorf("trace: start %s: %w", p.name, err)
		}
		p.started = true
	}
	return p.queue.Start()
}

// Collect implements Trace.
func (p *Plugin) Collect(s *Span) error {
	if s == nil {
		return errors.New("trace: no span to collect")
	}
	if !s.End() {
		return nil
	}
	err := p.queue.Add(s)
	if p.collected != nil {
		p.collected(s)
	}
	return err
}

// send runs in the one sender.
func (p *Plugin) send(ctx context.Context, spans []*Span) error {
	err := p.exporter.Export(ctx, spans)
	var rejected *RejectedError
	if errors.As(err, &rejected) {
		p.rejected.Add(rejected.Count)
		p.rejected.Report(p.logger(), "spans", rejected.Reason)
		return nil
	}
	if err == nil {
		p.rejected.Report(p.logger(), "spans", "")
	}
	return err
}

func (p *Plugin) logger() *slog.Logger {
	if p.options.Logger != nil {
		return p.options.Logger
	}
	return slog.Default()
}

// Flush sends what was collected so far and returns the error of that, or of
// ctx. It needs a started plugin.
func (p *Plugin) Flush(ctx context.Context) error { return p.queue.Flush(ctx) }

// Dropped returns how many sampled spans were lost.
func (p *Plugin) Dropped() uint64 { return p.queue.Dropped() + p.rejected.Total() }

// Stop implements Trace.
func (p *Plugin) Stop() error { return p.stop() }

func (p *Plugin) shutdown() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	err := p.queue.Stop()
	if p.started {
		err = errors.Join(err, p.exporter.Stop())
	}
	return err
}

// String implements Trace.
func (p *Plugin) String() string { return p.name }

// NormalTraceID returns the trace id in the form of Span.TraceId: 32
// hexadecimal digits in lower case. It also takes the 16 digits of older Zipkin
// libraries and the UUIDs of the original go-platform.
func NormalTraceID(id string) (string, bool) {
	id, ok := normal(id, 32)
	if !ok {
		return "", false
	}
	if len(id) == 16 {
		id = "0000000000000000" + id
	}
	return id, true
}

// NormalSpanID returns the span id in the form of Span.Id: 16 hexadecimal
// digits in lower case. Of a UUID, as the original go-platform wrote, it takes
// the first half: in its version 1 the second one names the machine.
func NormalSpanID(id string) (string, bool) {
	id, ok := normal(id, 16)
	if !ok || len(id) == 16 {
		return id, ok
	}
	return normal(id[:16], 16)
}

// SplitAddress splits the "host:port" of a node; a port that is not there is 0.
func SplitAddress(address string) (host string, port int64) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	if port, err = strconv.ParseInt(text, 10, 32); err != nil {
		return address, 0
	}
	return host, port
}
