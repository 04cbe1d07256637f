// This file, with the type Buffer, is for authors of outputs; users of log need
// nothing of it.

package log

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/option"
)

// NewOutputOptions returns the defaults with the options applied. What is wrong
// with them is told by Start of the Buffer made with them.
func NewOutputOptions(opts ...OutputOption) OutputOptions {
	o := OutputOptions{
		Sample:     10,
		QueueSize:  8192,
		QueueBytes: 16 << 20,
		Interval:   200 * time.Millisecond,
		Timeout:    5 * time.Second,
		Context:    context.Background(),
		Size:       100 << 20,
		Backups:    10,
		Compress:   true,
		Reopen:     []os.Signal{syscall.SIGHUP},
	}
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = stderr()
	}
	return o
}

// Sink is the far end behind a Buffer. All methods but Append and String are
// called by one goroutine at a time.
type Sink interface {
	// Append appends the event as the far end wants it. It is called on the path
	// of the callers, by many at a time, and must neither block nor keep e.
	Append(dst []byte, e *Event) []byte
	// Open is called by Start, to tell early what is wrong. It need not be
	// called, nor succeed, before Write.
	Open() error
	// Write delivers the events, each one what Append made of it, and returns how
	// many of them arrived for good. The others come again, after a while when
	// there was an error. It connects when it must, and ends with ctx.
	Write(ctx context.Context, events [][]byte) (int, error)
	// Close frees what the sink holds.
	Close() error
	// String returns the kind of output.
	String() string
}

// NewBuffer returns a Buffer before the sink.
func NewBuffer(sink Sink, o OutputOptions) *Buffer {
	b := &Buffer{sink: sink, err: o.Validate(), opts: o.repaired()}
	o = b.opts
	b.records.New = func() any { return new(record) }
	b.queue = batch.New(batch.Config[*record]{
		Name:     "log events to " + sink.String(),
		One:      "log event to " + sink.String(),
		Size:     256,
		Interval: o.Interval,
		Capacity: o.QueueSize,
		Timeout:  o.Timeout,
		Logger:   o.Logger,
		Limit:    o.QueueBytes,
		Weigh:    func(r *record) int { return len(r.data) },
		Send:     b.write,
	})
	return b
}

// Buffered puts a Buffer before any Output, for one whose Send may block or
// fail: each event is kept as its JSON, which must hold all there is to it, and
// sent from one goroutine until Send returns no error.
func Buffered(out Output, opts ...OutputOption) Output {
	return NewBuffer(outputSink{out}, NewOutputOptions(opts...))
}

type outputSink struct{ out Output }

func (s outputSink) Append(dst []byte, e *Event) []byte { return e.AppendJSON(dst) }

func (s outputSink) Open() error {
	if o, ok := s.out.(interface{ Start() error }); ok {
		return o.Start()
	}
	return nil
}

func (s outputSink) Write(ctx context.Context, events [][]byte) (int, error) {
	for i, data := range events {
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		e := new(Event)
		if err := json.Unmarshal(data, e); err != nil {
			return i, fmt.Errorf("log: read buffered event: %w", err)
		}
		if err := s.out.Send(e); err != nil {
			return i, err
		}
	}
	return len(events), s.out.Flush()
}

func (s outputSink) Close() error   { return s.out.Close() }
func (s outputSink) String() string { return s.out.String() }
