package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Changing is an Auth that knows when its verdicts may have changed.
// HandlerWrapper judges the streams of a Changing again at each change, those of
// another Auth twice a second.
type Changing interface {
	// Changed returns a channel that is closed when a token that is good now may
	// be refused, but not when it expires.
	Changed() <-chan struct{}
}

// Review is what a stream depends on while it lasts.
type Review struct {
	// Service is named by the go-micro errors of refusals.
	Service string
	// Again judges the caller once more. The stream ends when it returns an
	// ErrInvalidToken or ErrForbidden; another error means that nobody can say
	// now, and counts only once the token has expired.
	Again func() error
	// Changed is that of Changing; nil if nobody knows.
	Changed func() <-chan struct{}
	// Expires is the end of the caller's token.
	Expires time.Time
}

const (
	// lookAgain is how often a stream is judged whose Auth is not a Changing, or
	// whose token has expired and is accepted for the leeway.
	lookAgain = 500 * time.Millisecond
	// leaving is how long the handler of a stream that was ended may take to
	// return before its caller is answered.
	leaving = 100 * time.Millisecond
)

// Serve calls next, the handler of a stream, and returns its error, or that of
// Again as soon as the stream has to end: the context of next is then done, and
// Send and Recv fail. A next that does not return even so goes on alone, without
// a stream; its panics are lost. HandlerWrapper does all this by itself: Serve is
// for authors of plugins.
func (r Review) Serve(ctx context.Context, stream server.Stream, next func(context.Context, server.Stream) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	judged := &judgedStream{Stream: stream, sending: make(chan struct{}, 1)}
	done := make(chan ending, 1)
	go func() {
		end := ending{err: errors.New("the handler ended its goroutine")}
		defer func() {
			end.panicked = recover()
			done <- end
		}()
		end.err = next(ctx, judged)
	}()
	end, refused := r.wait(done)
	if refused == nil {
		return end.result()
	}
	refused = rpcerr.To(r.Service, refused)
	judged.refused.Store(&refused)
	cancel(refused)
	timer := time.NewTimer(leaving)
	defer timer.Stop()
	select {
	case <-done:
		return refused
	case <-timer.C:
	}
	judged.quiet()
	return refused
}

// ending is how a handler ended.
type ending struct {
	err      error
	panicked any
}

// result panics as the handler did, for those who recover around it.
func (o ending) result() error {
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}

// wait returns how the handler ended, or why the stream has to end before.
func (r Review) wait(done <-chan ending) (end ending, refused error) {
	timer := time.NewTimer(r.next())
	defer timer.Stop()
	for {
		var changed <-chan struct{}
		if r.Changed != nil {
			changed = r.Changed() // before Again, which must not miss a change
		}
		if err := r.refusal(); err != nil {
			return end, err
		}
		timer.Reset(r.next())
		select {
		case end = <-done:
			return end, nil
		case <-changed:
		case <-timer.C:
		}
	}
}

func (r Review) next() time.Duration {
	if r.Changed == nil {
		return lookAgain
	}
	return max(time.Until(r.Expires), lookAgain)
}

func (r Review) refusal() error {
	err := r.Again()
	if err == nil || errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrForbidden) {
		return err
	}
	if time.Now().After(r.Expires.Add(jwt.Leeway)) {
		return fmt.Errorf("%w: expired, and: %w", ErrInvalidToken, err)
	}
	return nil
}

// judgedStream is a stream that may be over before its handler is.
type judgedStream struct {
	server.Stream
	refused atomic.Pointer[error]
	sending chan struct{} // has an element while something is being sent
}

// Send implements server.Stream.
func (s *judgedStream) Send(msg any) error {
	s.sending <- struct{}{}
	defer func() { <-s.sending }()
	if err := s.refused.Load(); err != nil {
		return *err
	}
	return s.Stream.Send(msg)
}

// quiet returns when nothing is being sent, unless that takes too long: go-micro's
// rpc stack must not send the handler's message and the refusal at once.
func (s *judgedStream) quiet() {
	timer := time.NewTimer(leaving)
	defer timer.Stop()
	select {
	case s.sending <- struct{}{}:
		<-s.sending
	case <-timer.C:
	}
}

// Recv implements server.Stream.
func (s *judgedStream) Recv(msg any) error {
	if err := s.refused.Load(); err != nil {
		return *err
	}
	err := s.Stream.Recv(msg)
	if refused := s.refused.Load(); refused != nil {
		return *refused
	}
	return err
}
