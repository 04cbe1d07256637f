// Package call is what the wrappers of all features share: whether a call
// failed, and when a stream is over.
package call

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"github.com/micro/go-platform/internal/clean"
	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
)

// Result is how a call ended, in the words of the monitor's and the router's
// statistics.
type Result int

// Success is a call without error, Failure one with, Dropped one that ran into
// its deadline (408): nobody knows whether it was carried out.
const (
	Success Result = iota
	Failure
	Dropped
)

// String returns the value of a "status" tag.
func (r Result) String() string {
	switch r {
	case Success:
		return "success"
	case Dropped:
		return "dropped"
	default:
		return "error"
	}
}

// Of classifies the error of a call or a handler. The normal end of a stream,
// io.EOF or go-micro's "EOS", is a success. An error whose methods panic, as
// those of a nil pointer in an error may, is a Failure: it must not end the
// process.
func Of(err error) (result Result) {
	if err == nil {
		return Success
	}
	defer func() {
		if p := recover(); p != nil {
			result = Failure
		}
	}()
	switch {
	case Ended(err):
		return Success
	case errors.Is(err, context.DeadlineExceeded):
		return Dropped
	}
	if Code(err) == 408 {
		return Dropped
	}
	return Failure
}

// Ended reports whether err is the normal end of a stream.
func Ended(err error) bool {
	return errors.Is(err, io.EOF) || err != nil && err.Error() == "EOS"
}

// Code returns the status code of a go-micro error, of either stack, or 0.
func Code(err error) int32 {
	if err == nil {
		return 0
	}
	return Parse(err).Code
}

// Parse returns the go-micro error that err is or spells: the rpc stack hands
// errors over as strings that hold the JSON, the streams of the grpc stack as a
// status whose text ends with it. Of any other it returns one with its text and
// the code 0, also where that text cannot be had because Error panics.
func Parse(err error) (e *merrors.Error) {
	defer func() {
		if p := recover(); p != nil {
			e = &merrors.Error{Detail: clean.Error(err, 1<<10)}
		}
	}()
	if errors.As(err, &e) && e != nil {
		return e
	}
	text := err.Error()
	if _, spelled, ok := strings.Cut(text, " desc = {"); ok && strings.HasPrefix(text, "rpc error: code = ") {
		text = "{" + spelled
	}
	return merrors.Parse(text)
}

// WatchStream returns s with done called exactly once when the stream is over
// for its user: at the first error of Send or Recv, with nil at the normal end,
// or at Close. A stream that is never closed nor read to its end is not over.
func WatchStream(s client.Stream, done func(error)) client.Stream {
	return &stream{Stream: s, done: done}
}

type stream struct {
	client.Stream
	over atomic.Bool
	done func(error)
}

func (s *stream) end(err error) {
	if s.over.Swap(true) {
		return
	}
	if Ended(err) {
		err = nil
	}
	s.done(err)
}

func (s *stream) Send(msg any) error {
	err := s.Stream.Send(msg)
	if err != nil && !Ended(err) { // io.EOF: the reason comes with Recv
		s.end(err)
	}
	return err
}

func (s *stream) Recv(msg any) error {
	err := s.Stream.Recv(msg)
	if err != nil {
		s.end(err)
	}
	return err
}

func (s *stream) Close() error {
	err := s.Stream.Close()
	s.end(err)
	return err
}
