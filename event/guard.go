package event

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/clean"
)

// maxReason bounds the text of a failure, in bytes.
const maxReason = 1 << 10

// guard calls the handler of one subscription under recover: it is a user's code
// in our goroutines.
type guard struct {
	plugin   *Plugin
	what     string
	consumer Consumer
	panics   atomic.Int64
}

// handle calls the handler. A panic becomes its error. The first is logged with
// its stack, and over tells how many there were.
func (g *guard) handle(ctx context.Context, d *Delivery) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		text := clean.Value(v, maxReason)
		err = fmt.Errorf("the handler panicked: %s", text)
		if g.panics.Add(1) == 1 {
			g.plugin.logger().Error("event: "+g.what+": the handler panicked, which counts as its error", "type", clean.Text(d.Type, MaxType),
				"sequence", d.Sequence, "panic", text, "stack", string(debug.Stack()))
		}
	}()
	return g.plugin.handle(ctx, g.consumer, d)
}

// over tells of the panics that were not logged.
func (g *guard) over() {
	if n := g.panics.Load(); n > 1 {
		g.plugin.logger().Error("event: "+g.what+" ended, its handler panicked", "panics", n)
	}
}

// verdict is how a durable handler ended, in our words: the methods of a user's
// error may panic, and its text may be what protobuf does not take.
type verdict struct {
	outcome pb.Outcome
	reason  string
	again   *retryError // that asked for the wait, if any
}

// judge returns the verdict of a handler's error. One that cannot be looked into
// is a failure like any other.
func judge(err error) (v verdict) {
	if err == nil {
		return verdict{outcome: pb.Outcome_ACK}
	}
	defer func() {
		if recover() != nil {
			v = verdict{outcome: pb.Outcome_NACK, reason: clean.Error(err, maxReason)}
		}
	}()
	var again *retryError
	var reject *rejectError
	switch {
	case errors.As(err, &reject):
		return verdict{outcome: pb.Outcome_REJECT, reason: clean.Error(reject.err, maxReason)}
	case errors.As(err, &again):
		return verdict{outcome: pb.Outcome_NACK, reason: clean.Error(again.err, maxReason), again: again}
	}
	return verdict{outcome: pb.Outcome_NACK, reason: clean.Error(err, maxReason)}
}

// guardDone returns done, called under recover: a panic must not cost the records
// behind it. The first of the plugin is logged.
func (p *Plugin) guardDone(done func(*Record, error)) func(*Record, error) {
	if done == nil {
		return nil
	}
	return func(r *Record, err error) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			text, stack := clean.Value(v, maxReason), string(debug.Stack())
			p.donePanic.Do(func() {
				p.logger().Error("event: a done panicked, others are not logged", "panic", text, "stack", stack)
			})
		}()
		done(r, err)
	}
}
