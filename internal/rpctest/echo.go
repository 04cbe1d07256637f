package rpctest

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/call"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// Topic is what an Echo server subscribes to.
const Topic = "go.platform.test.events"

// toldToFail is what an Echo answers that was.
const toldToFail = "told to fail"

// Echo is the handler and subscriber that tests call through wrappers.
type Echo struct {
	mu     sync.Mutex
	events []Delivery
	// Forward, when set, is called by Call with its context, for services that
	// call others.
	Forward func(ctx context.Context) error
}

// Delivery is one message the subscriber got.
type Delivery struct {
	Text     string
	Metadata metadata.Metadata
}

// Serve starts an Echo server of the given name.
func (n *Net) Serve(stack, name string, opts ...server.Option) *Echo {
	n.tb.Helper()
	s := n.Server(stack, name, opts...)
	e := &Echo{}
	if err := echo.RegisterEchoHandler(s, e); err != nil {
		n.tb.Fatal(err)
	}
	if err := s.Subscribe(s.NewSubscriber(Topic, e.event)); err != nil {
		n.tb.Fatal(err)
	}
	n.Start(s)
	return e
}

// Call answers with the text and the metadata it saw, or fails as told.
func (e *Echo) Call(ctx context.Context, req *echo.Request, rsp *echo.Response) error {
	select {
	case <-time.After(time.Duration(req.SleepMs) * time.Millisecond):
	case <-ctx.Done():
		return merrors.Timeout("go.platform.test", "%v", ctx.Err())
	}
	if req.Panic {
		panic("told to")
	}
	if req.Fail != 0 {
		return merrors.New("go.platform.test", toldToFail, req.Fail)
	}
	if e.Forward != nil {
		if err := e.Forward(ctx); err != nil {
			return err
		}
	}
	rsp.Text = req.Text
	rsp.Metadata, _ = metadata.FromContext(ctx)
	return nil
}

// Stream answers each message until one says to end or to fail. It is a
// conversation because go-micro's rpc stack corrupts streams that send twice
// without reading.
func (e *Echo) Stream(ctx context.Context, stream echo.Echo_StreamStream) error {
	md, _ := metadata.FromContext(ctx)
	for {
		req, err := stream.Recv()
		switch {
		case err != nil:
			return err
		case req.Panic:
			panic("told to")
		case req.Fail != 0:
			return merrors.New("go.platform.test", toldToFail, req.Fail)
		case req.End:
			return nil
		}
		if err := stream.Send(&echo.Response{Text: req.Text, Metadata: md}); err != nil {
			return err
		}
	}
}

// Converse sends n messages over a new stream, reads the answers, then sends
// last, which should end the stream, and returns the error that ended it. At
// the normal end that is nil.
func Converse(ctx context.Context, svc echo.EchoService, n int, last *echo.Request) error {
	stream, err := svc.Stream(ctx)
	if err != nil {
		return err
	}
	for range n {
		// io.EOF: the other side has ended it, Recv says why.
		if err := stream.Send(&echo.Request{Text: "s"}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	if err := stream.Send(last); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err = stream.Recv(); call.Ended(err) {
		err = nil
	}
	return errors.Join(err, stream.Close())
}

func (e *Echo) event(ctx context.Context, event *echo.Event) error {
	md, _ := metadata.FromContext(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, Delivery{event.Text, md})
	if event.Fail != 0 {
		return merrors.New("go.platform.test", toldToFail, event.Fail)
	}
	return nil
}

// Events returns what the subscriber got so far.
func (e *Echo) Events() []Delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Delivery(nil), e.events...)
}
