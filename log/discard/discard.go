// Package discard is the output that drops every event, for tests, benchmarks
// and programs that want silence.
package discard

import "github.com/micro/go-platform/log"

// NewOutput returns an output without effect. What it takes is not counted as
// dropped: it has arrived where it was sent.
func NewOutput() log.Output { return output{} }

type output struct{}

func (output) Send(*log.Event) error { return nil }
func (output) Flush() error          { return nil }
func (output) Close() error          { return nil }
func (output) String() string        { return "discard" }
