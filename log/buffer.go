package log

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
)

// Buffer is an Output that never waits for its Sink, unless its policy says so:
// events are encoded at once, held in a bounded queue and written by one
// goroutine, which begins with the first event or with Start and tries again,
// with growing pauses, what the sink does not take. What was dropped is told by
// an event in the same stream as soon as it flows again: level warn, message
// "log events dropped", the number in the field "dropped".
type Buffer struct {
	sink  Sink
	opts  OutputOptions
	err   error // of the options
	queue *batch.Queue[*record]

	start    sync.Once
	close    sync.Once
	closed   atomic.Bool
	sampling atomic.Uint64

	records sync.Pool  // of *record
	mu      sync.Mutex // one at a time at the sink
	writing writing
}

// The errors of Send, made beforehand: Send is on the caller's path.
var (
	errClosed = fmt.Errorf("log: %w", ErrStopped)
	errFull   = fmt.Errorf("log: %w", ErrFull)
)

// record is one encoded event.
type record struct{ data []byte }

// keptRecord is the largest record that is used again.
const keptRecord = 16 << 10

// writing is the batch in flight: what the queue handed over and, after a drop,
// the notice of it.
type writing struct {
	events  [][]byte
	done    int    // of events
	told    uint64 // drops that the stream knows of
	telling uint64 // and will know of when this batch has arrived
}

// Start begins to write, and reports bad options and what the sink says to being
// opened. The Buffer works in spite of that, as well as the sink does.
func (b *Buffer) Start() error {
	if b.closed.Load() {
		return errClosed
	}
	b.begin()
	if !b.mu.TryLock() { // it is being written already
		return b.err
	}
	defer b.mu.Unlock()
	return errors.Join(b.err, b.sink.Open())
}

// begin starts the queue. Only a Close before can refuse it, and then there is
// nothing to start.
func (b *Buffer) begin() { b.start.Do(func() { _ = b.queue.Start() }) }

// Send queues the event as the policy says.
func (b *Buffer) Send(e *Event) error {
	if b.closed.Load() {
		b.queue.Drop(1)
		return errClosed
	}
	if b.opts.Policy == BlockPolicy {
		return b.SendWait(context.Background(), e)
	}
	if waiting := b.queue.Len(); waiting >= b.opts.QueueSize || b.sampledOut(e, waiting) {
		b.queue.Drop(1)
		return errFull
	}
	b.begin()
	r := b.encode(e)
	if err := b.queue.Add(r); err != nil {
		b.free(r)
		return refusal(err)
	}
	return nil
}

// SendWait queues the event and waits for room until ctx ends.
func (b *Buffer) SendWait(ctx context.Context, e *Event) error {
	b.begin()
	r := b.encode(e)
	if err := b.queue.AddWait(ctx, r); err != nil {
		b.free(r)
		return refusal(err)
	}
	return nil
}

// refusal adds the package's name to an error of the queue.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrFull):
		return errFull
	case errors.Is(err, ErrStopped):
		return errClosed
	}
	return err // of a context
}

func (b *Buffer) sampledOut(e *Event, waiting int) bool {
	return b.opts.Policy == SamplePolicy && e.Level < ErrorLevel && waiting > b.opts.QueueSize/2 &&
		b.sampling.Add(1)%uint64(b.opts.Sample) != 0
}

func (b *Buffer) encode(e *Event) *record {
	r := b.records.Get().(*record)
	r.data = b.sink.Append(r.data[:0], e)
	return r
}

func (b *Buffer) free(r *record) {
	if cap(r.data) <= keptRecord {
		b.records.Put(r)
	}
}

// Flush writes what is queued now, and tries for 2 s to.
func (b *Buffer) Flush() error {
	if b.closed.Load() {
		return errClosed
	}
	b.begin()
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond}
	for {
		err := b.queue.Flush(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("log: %w", ErrNotFlushed)
		case b.closed.Load():
			return errClosed
		case wait.Wait(ctx) != nil:
			return fmt.Errorf("log: %w: %w", ErrNotFlushed, err)
		}
	}
}

// Close writes what is left, within 2 s, and returns an ErrLost that counts the
// events that were lost.
func (b *Buffer) Close() error {
	var err error
	b.close.Do(func() {
		b.closed.Store(true)
		if err = b.queue.Stop(); err != nil {
			err = fmt.Errorf("log: %w", err)
		}
		if !b.mu.TryLock() { // the sink hangs, it cannot be closed
			err = errors.Join(err, errors.New("log: a write still hangs"))
			return
		}
		defer b.mu.Unlock()
		err = errors.Join(err, b.sink.Close())
	})
	return err
}

// Dropped returns how many events were lost.
func (b *Buffer) Dropped() uint64 { return b.queue.Dropped() }

// String returns the kind of output.
func (b *Buffer) String() string { return b.sink.String() }

// exclusive does something with the sink while nobody else does.
func (b *Buffer) exclusive(do func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return do()
}

// write delivers one batch. After an error the queue brings the same records
// again, and they go on where the sink stopped.
func (b *Buffer) write(ctx context.Context, records []*record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &b.writing
	if len(w.events) == 0 {
		w.fill(b, records)
	}
	for w.done < len(w.events) {
		n, err := b.sink.Write(ctx, w.events[w.done:])
		w.done += n
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("log: output %s took nothing", b)
		}
	}
	w.told = w.telling
	clear(w.events)
	w.events, w.done = w.events[:0], 0
	for _, r := range records {
		b.free(r)
	}
	return nil
}

// fill takes the records over, behind the notice of what was dropped since the
// last one.
func (w *writing) fill(b *Buffer, records []*record) {
	w.telling = b.Dropped()
	if lost := w.telling - w.told; lost > 0 {
		w.events = append(w.events, b.sink.Append(nil, &Event{
			Level:     WarnLevel,
			Timestamp: time.Now().UnixNano(),
			Message:   "log events dropped",
			Fields:    Fields{"dropped": strconv.FormatUint(lost, 10), "output": b.String()},
		}))
	}
	for _, r := range records {
		w.events = append(w.events, r.data)
	}
}
