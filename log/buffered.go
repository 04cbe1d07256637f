package log

import (
	"context"
	"encoding/json"
	"fmt"
)

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
			return i, fmt.Errorf("read buffered event: %w", err)
		}
		if err := s.out.Send(e); err != nil {
			return i, err
		}
	}
	return len(events), s.out.Flush()
}

func (s outputSink) Close() error   { return s.out.Close() }
func (s outputSink) String() string { return s.out.String() }
