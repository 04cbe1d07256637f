package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

// Plugin is an Event on a Driver: it makes records complete, queues, traces,
// hands records to handlers and reconnects.
type Plugin struct {
	name    string
	options Options
	driver  Driver
	queue   *batch.Queue[*queued]
	skipped loss.Counter

	life     context.Context // ends with Stop
	end      context.CancelFunc
	mu       sync.Mutex
	started  bool
	stopped  bool
	stop     func() error
	handlers sync.WaitGroup
}

// What one request to the log may hold.
const (
	maxBatch      = 500
	maxBatchBytes = 2 << 20 // go-micro's clients refuse messages of 4 MB
	maxQueueBytes = 64 << 20
)

// NewPlugin returns a plugin of the name. It does no I/O before Start.
func NewPlugin(name string, driver Driver, o Options) *Plugin {
	p := &Plugin{name: name, options: o, driver: driver}
	p.life, p.end = context.WithCancel(context.Background())
	p.queue = batch.New(batch.Config[*queued]{
		Name:     "records",
		Size:     maxBatch,
		Load:     maxBatchBytes,
		Interval: time.Second,
		Capacity: max(o.Queue, 1),
		Limit:    maxQueueBytes,
		Timeout:  o.Timeout,
		Logger:   o.Logger,
		Send:     p.send,
		Lost:     lost,
		Eager:    true,
		Weigh:    func(q *queued) int { return q.size },
	})
	p.stop = sync.OnceValue(p.shutdown)
	return p
}

// Start implements Event.
func (p *Plugin) Start() error {
	if err := p.options.Validate(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return ErrStopped
	}
	if p.started {
		return nil
	}
	if err := p.driver.Start(); err != nil {
		return fmt.Errorf("event: start %s: %w", p.name, err)
	}
	p.started = true
	return p.queue.Start()
}

// Stop implements Event.
func (p *Plugin) Stop() error { return p.stop() }

func (p *Plugin) shutdown() error {
	p.mu.Lock()
	p.stopped = true
	started := p.started
	p.mu.Unlock()
	p.end()
	done := make(chan struct{})
	go func() { p.handlers.Wait(); close(done) }()
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	err := p.queue.Stop() // meanwhile
	select {
	case <-done:
	case <-timer.C:
		err = errors.Join(err, errors.New("event: handlers did not end in time"))
	}
	if started {
		err = errors.Join(err, p.driver.Stop())
	}
	return err
}

// enter counts a call in, unless the plugin does not run.
func (p *Plugin) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started || p.stopped {
		return fmt.Errorf("event: %w", ErrStopped)
	}
	p.handlers.Add(1)
	return nil
}

// String implements Event.
func (p *Plugin) String() string { return p.name }

// Dropped implements Event.
func (p *Plugin) Dropped() uint64 { return p.skipped.Total() + p.queue.Dropped() }

func (p *Plugin) logger() *slog.Logger {
	if p.options.Logger != nil {
		return p.options.Logger
	}
	return slog.Default()
}

// RecordError is the error of one record among several.
type RecordError struct {
	Record *Record
	Err    error
}

// Error implements error.
func (e *RecordError) Error() string { return fmt.Sprintf("record %s: %v", e.Record.Id, e.Err) }

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

// Publish implements Event.
func (p *Plugin) Publish(ctx context.Context, r *Record) error {
	err := p.PublishAll(ctx, []*Record{r})
	var one *RecordError
	if errors.As(err, &one) {
		err = one.Err
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// PublishAll implements Event.
func (p *Plugin) PublishAll(ctx context.Context, records []*Record) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.handlers.Done()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.options.Timeout)
		defer cancel()
	}
	var errs []error
	all := make([]*queued, 0, len(records))
	for _, r := range records {
		if q, err := p.prepare(ctx, r, nil); err == nil {
			all = append(all, q)
		} else {
			errs = append(errs, &RecordError{r, err})
		}
	}
	for len(all) > 0 {
		n := batchOf(all)
		if err := p.append(ctx, all[:n]); err != nil {
			finishAll(all, err)
			return errors.Join(append(errs, err)...)
		}
		for _, q := range all[:n] {
			q.finish(q.err)
			if q.err != nil {
				errs = append(errs, &RecordError{q.record, q.err})
			}
		}
		all = all[n:]
	}
	return errors.Join(errs...)
}

// batchOf returns how many of the records fit into one request.
func batchOf(all []*queued) int {
	n, bytes := 0, 0
	for ; n < len(all) && n < maxBatch; n++ {
		if bytes += all[n].size; n > 0 && bytes > maxBatchBytes {
			break
		}
	}
	return n
}

// queued is a record on its way to the log.
type queued struct {
	record  *Record
	message *pb.Record
	size    int
	done    func(*Record, error)
	traced  func(error)

	sequence uint64
	err      error // the log refused it
}

func (q *queued) finish(err error) {
	if err == nil {
		q.record.Sequence = q.sequence
	}
	q.traced(err)
	if q.done != nil {
		q.done(q.record, err)
	}
}

func finishAll(all []*queued, err error) {
	for _, q := range all {
		q.finish(err)
	}
}

func (p *Plugin) prepare(ctx context.Context, r *Record, done func(*Record, error)) (*queued, error) {
	if r == nil {
		return nil, fmt.Errorf("%w: record: nil", ErrInvalid)
	}
	complete(r, p.options.Origin)
	q := &queued{record: r, message: Message(r), done: done}
	q.message.Sequence = 0
	if err := Validate(q.message); err != nil {
		return nil, err
	}
	q.traced = p.tracePublication(ctx, q.message)
	q.size = proto.Size(q.message)
	return q, nil
}

// append appends what fits one request. An error means that all of them may
// come again; those that were refused have one of their own.
func (p *Plugin) append(ctx context.Context, all []*queued) error {
	messages := make([]*pb.Record, len(all))
	for i, q := range all {
		messages[i] = q.message
	}
	results, err := p.driver.Append(ctx, messages)
	if err != nil {
		return err
	}
	if len(results) != len(all) {
		return fmt.Errorf("%w: %d results for %d records", ErrUnavailable, len(results), len(all))
	}
	for i, q := range all {
		q.sequence = results[i].Sequence
		if text := results[i].Error; text != "" {
			q.err = fmt.Errorf("%w: %s", ErrInvalid, text)
		}
	}
	return nil
}

// PublishAsync implements Event.
func (p *Plugin) PublishAsync(ctx context.Context, r *Record, done func(*Record, error)) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.handlers.Done()
	q, err := p.prepare(ctx, r, done)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := p.queue.AddWait(ctx, q); err != nil {
		q.traced(err)
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// send runs in the one sender of the queue.
func (p *Plugin) send(ctx context.Context, all []*queued) error {
	err := p.append(ctx, all)
	if err != nil && !errors.Is(err, ErrInvalid) {
		return err
	}
	for _, q := range all {
		if err != nil { // the request as a whole: no try will help
			q.err = err
		}
		if q.err != nil {
			p.queue.Drop(1)
		}
		q.finish(q.err)
	}
	return nil
}

func lost(all []*queued) { finishAll(all, fmt.Errorf("publish: %w", ErrStopped)) }

// Flush implements Event.
func (p *Plugin) Flush(ctx context.Context) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.handlers.Done()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: time.Second}
	for {
		err := p.queue.Flush(inner)
		if err == nil {
			return nil
		}
		if wait.Wait(inner) == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("flush: %w", ErrStopped)
	}
}
