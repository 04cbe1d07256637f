package event

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/internal/wire"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backoff"
)

// What one request to the log may hold.
const (
	maxBatch      = 500
	maxBatchBytes = 2 << 20 // go-micro's clients refuse messages of 4 MB
	maxQueueBytes = 64 << 20
)

// RecordError is the error of one record among several.
type RecordError struct {
	Record *Record
	Err    error
}

// Error implements error.
func (e *RecordError) Error() string {
	return fmt.Sprintf("event: publish record %s: %v", e.id(), e.Err)
}

func (e *RecordError) id() string {
	if e.Record == nil {
		return "nil"
	}
	return e.Record.Id
}

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

// Publish implements Event.
func (p *Plugin) Publish(ctx context.Context, r *Record) error {
	err := p.PublishAll(ctx, []*Record{r})
	var one *RecordError
	if errors.As(err, &one) {
		return fmt.Errorf("event: publish: %w", one.Err)
	}
	return err
}

// PublishAll implements Event.
func (p *Plugin) PublishAll(ctx context.Context, records []*Record) error {
	if err := p.enter(ctx); err != nil {
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
			err = fmt.Errorf("event: publish: %w", err)
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

	sequence  uint64
	duplicate bool
	err       error // the log refused it
}

func (q *queued) finish(err error) {
	if err == nil {
		q.record.Sequence, q.record.Duplicate = q.sequence, q.duplicate
	}
	q.traced(err)
	if q.done != nil {
		q.done(q.record, err)
	}
}

// own copies the record, which the caller may change while it waits.
func (q *queued) own() {
	r := *q.record
	r.Metadata = maps.Clone(r.Metadata)
	q.record = &r
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
	q := &queued{record: r, message: toMessage(r), done: done}
	q.message.Sequence = 0
	q.message.Metadata = maps.Clone(r.Metadata) // a call that ctx ended may still write the message
	if err := wire.Validate(q.message); err != nil {
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
		q.sequence, q.duplicate = results[i].Sequence, results[i].Duplicate
		switch text := results[i].Error; {
		case results[i].Conflict:
			q.err = fmt.Errorf("%w: %s", ErrConflict, text)
		case text != "":
			q.err = fmt.Errorf("%w: %s", ErrInvalid, text)
		}
	}
	return nil
}

// PublishAsync implements Event.
func (p *Plugin) PublishAsync(ctx context.Context, r *Record, done func(*Record, error)) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.handlers.Done()
	q, err := p.prepare(ctx, r, p.guardDone(done))
	if err != nil {
		return fmt.Errorf("event: publish: %w", err)
	}
	q.own()
	if err := p.queue.AddWait(ctx, q); err != nil {
		q.traced(err)
		return fmt.Errorf("event: publish: %w", err)
	}
	return nil
}

// send runs in the one sender of the queue.
func (p *Plugin) send(ctx context.Context, all []*queued) error {
	err := p.append(ctx, all)
	if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrConflict) {
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

func lost(all []*queued) { finishAll(all, fmt.Errorf("event: publish: %w", ErrStopped)) }

// Flush implements Event.
func (p *Plugin) Flush(ctx context.Context) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.handlers.Done()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.Life(), cancel)()
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
		return fmt.Errorf("event: flush: %w", ErrStopped)
	}
}
