package event

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// NewEvent returns the default plugin, whose log is that of event-srv. It does
// no I/O before Start.
func NewEvent(opts ...Option) Event {
	o := NewOptions(opts...)
	return NewPlugin("platform", &platform{options: o}, o)
}

// platform is the plugin.Driver of the default plugin.
type platform struct {
	options Options
	service pb.EventService
	release func()
}

const (
	pageSize = 256
	// silence is how long a stream may say nothing: event-srv gives a sign of
	// life every five seconds.
	silence = 17 * time.Second
)

// Start implements plugin.Driver.
func (p *platform) Start() error {
	var c client.Client
	c, p.release = rpc.Acquire(p.options.Client, p.options.TLS)
	p.service = pb.NewEventService(ServiceName, c)
	return nil
}

// Stop implements plugin.Driver.
func (p *platform) Stop() error {
	p.release()
	return nil
}

// Append implements plugin.Driver.
func (p *platform) Append(ctx context.Context, records []*pb.Record) ([]*pb.Result, error) {
	timeout := p.options.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	rsp, err := p.service.Create(ctx, &pb.CreateRequest{Records: records}, rpc.Options(timeout)...)
	if err != nil {
		return nil, rpcerr.From(ctx, "append to "+ServiceName, err)
	}
	return rsp.Results, nil
}

// streamError is rpcerr.From for the raw status that a stream ends with.
func streamError(ctx context.Context, doing string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w: the stream has ended", doing, ErrUnavailable)
	}
	if s, ok := status.FromError(err); ok {
		if e := merrors.Parse(s.Message()); e.Code != 0 {
			err = e
		}
	}
	return rpcerr.From(ctx, doing, err)
}

// Follow implements plugin.Driver.
func (p *platform) Follow(ctx context.Context, from plugin.Position, types []string, deliver func(*plugin.Page) error) error {
	const doing = "follow " + ServiceName
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.service.Stream(ctx, &pb.StreamRequest{
		Types: types, Start: from.Start, Sequence: from.Sequence, Time: from.Time, Batch: pageSize, Log: from.Log,
	}, client.WithDialTimeout(p.options.Timeout))
	if err != nil {
		return streamError(ctx, doing, err)
	}
	defer func() { _ = stream.Close() }() // it only says that the stream is over
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	for {
		dead.Reset(silence)
		m, err := stream.Recv()
		if err != nil {
			return streamError(ctx, doing, err)
		}
		dead.Stop() // the handler may take its time
		if err := deliver(&plugin.Page{Log: m.Log, Records: m.Records, Cursor: m.Cursor, Last: m.Last, Skipped: m.Skipped}); err != nil {
			return err
		}
	}
}

// Join implements plugin.Driver.
func (p *platform) Join(ctx context.Context, m plugin.Membership) (plugin.Session, error) {
	const doing = "consume from " + ServiceName
	// The stream outlives ctx: what was settled is told before it ends.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	stream, err := p.service.Consume(life, client.WithDialTimeout(p.options.Timeout))
	if err != nil {
		cancel()
		return nil, streamError(ctx, doing, err)
	}
	s := &session{stream: stream, life: life, cancel: cancel, left: make(chan struct{})}
	s.dead = time.AfterFunc(silence, cancel)
	err = stream.Send(&pb.ConsumeRequest{Subscription: m.Conf, Member: m.Member, Credit: int32(m.Credit), Held: m.Held, Log: m.Log})
	var first *pb.ConsumeResponse
	if err == nil || errors.Is(err, io.EOF) { // the reason comes with Recv
		first, err = stream.Recv()
	}
	if err != nil {
		s.Close()
		return nil, streamError(ctx, doing, err)
	}
	s.log = first.Log
	return s, nil
}

// session is the plugin.Session of the default plugin.
type session struct {
	stream pb.Event_ConsumeService
	log    string
	life   context.Context
	cancel context.CancelFunc
	dead   *time.Timer
	left   chan struct{}
	once   sync.Once
}

// Log implements plugin.Session.
func (s *session) Log() string { return s.log }

// Recv implements plugin.Session.
func (s *session) Recv(ctx context.Context) ([]*pb.Delivery, uint64, error) {
	m, err := s.stream.Recv()
	if err != nil {
		return nil, 0, streamError(ctx, "receive from "+ServiceName, err)
	}
	s.dead.Reset(silence)
	if m.Left {
		s.once.Do(func() { close(s.left) })
	}
	return m.Deliveries, m.Lag, nil
}

// settleSize is how many outcomes one message tells.
const settleSize = 1000

// Settle implements plugin.Session.
func (s *session) Settle(ctx context.Context, settled []*pb.Settlement, touched []uint64) error {
	for len(settled)+len(touched) > 0 {
		m := &pb.ConsumeRequest{Settled: settled[:min(len(settled), settleSize)], Touched: touched}
		settled, touched = settled[len(m.Settled):], nil
		if err := s.stream.Send(m); err != nil {
			return streamError(ctx, "settle with "+ServiceName, err)
		}
	}
	return nil
}

// Leave implements plugin.Session.
func (s *session) Leave(ctx context.Context) error {
	if err := s.stream.Send(&pb.ConsumeRequest{Leave: true}); err != nil {
		return streamError(ctx, "leave "+ServiceName, err)
	}
	select {
	case <-s.left:
		return nil
	case <-s.life.Done():
		return fmt.Errorf("leave %s: %w", ServiceName, ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("leave %s: %w", ServiceName, ctx.Err())
	}
}

// Close implements plugin.Session.
func (s *session) Close() {
	s.dead.Stop()
	s.cancel()
	_ = s.stream.Close() // it only says that the stream is over
}
