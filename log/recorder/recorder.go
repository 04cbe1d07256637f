// Package recorder is the output that keeps events in memory, for tests of what
// a program logs.
package recorder

import (
	"fmt"
	"sync"

	"github.com/micro/go-platform/log"
)

// Output keeps the events it was sent, in order and without bound: Reset it in a
// long test.
type Output struct {
	mu     sync.Mutex
	events []*log.Event
	closed bool
}

// NewOutput returns an empty recorder.
func NewOutput() *Output { return &Output{} }

// Send keeps a copy of the event. After Close it returns log.ErrStopped.
func (o *Output) Send(e *log.Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return fmt.Errorf("log: %w", log.ErrStopped)
	}
	o.events = append(o.events, e.Clone())
	return nil
}

// Events returns the events kept so far; they are the caller's.
func (o *Output) Events() []*log.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	events := make([]*log.Event, len(o.events))
	for i, e := range o.events {
		events[i] = e.Clone()
	}
	return events
}

// Reset forgets the events.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = nil
}

// Flush has nothing to do.
func (o *Output) Flush() error { return nil }

// Close refuses further events. Those kept can still be read.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return nil
}

// String returns "recorder".
func (o *Output) String() string { return "recorder" }
