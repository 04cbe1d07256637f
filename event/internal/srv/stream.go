package srv

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

const maxPage = 1000 // records of one message

// enter counts a stream in; leave ends its context with the service.
func (h *handler) enter(ctx context.Context) (_ context.Context, leave func(), _ error) {
	left, err := h.streams.Enter(ctx)
	if err != nil {
		return nil, nil, refuse(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-h.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		left()
	}, nil
}

// ended is how a stream ends whose context did: because the client is gone, or
// because the service stops, which the client should hear.
func (h *handler) ended(err error) error {
	select {
	case <-h.done:
		return refuse(fmt.Errorf("%w: stopping", rpcerr.ErrUnavailable))
	default:
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return refuse(err)
}

// Stream sends records as fast as they are read. A reader that is slow holds up
// nobody: what waits for it is in the store, not in memory.
func (h *handler) Stream(ctx context.Context, req *pb.StreamRequest, stream pb.Event_StreamStream) error {
	if req.Batch < 0 || req.Batch > maxPage {
		return invalid("batch: %d is not within 0..%d", req.Batch, maxPage)
	}
	filter, err := plugin.NewFilter(req.Types...)
	if err != nil {
		return refuse(err)
	}
	ctx, leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	cursor, err := h.log.Resolve(ctx, req.Start, req.Sequence, req.Time, req.Log)
	if err != nil {
		return refuse(err)
	}
	send := func(page *plugin.Page) error { return sendPage(stream, page) }
	if req.Batch == 0 {
		send = func(page *plugin.Page) error { return sendOneByOne(stream, page) }
	}
	return h.ended(h.log.Follow(ctx, cursor, filter, max(int(req.Batch), 1), send))
}

// sendPage sends a page in as many messages as it takes: a store may bound what
// it reads by something else than messages are bounded by.
func sendPage(stream pb.Event_StreamStream, page *plugin.Page) error {
	rest, skipped := page.Records, page.Skipped
	for {
		n := fit(len(rest), func(i int) int { return proto.Size(rest[i]) })
		m := &pb.StreamResponse{Log: page.Log, Records: rest[:n], Cursor: page.Cursor, Last: page.Last, Skipped: skipped}
		if rest = rest[n:]; len(rest) > 0 {
			m.Cursor = m.Records[n-1].Sequence
		}
		if err := stream.Send(m); err != nil || len(rest) == 0 {
			return err
		}
		skipped = 0 // told
	}
}

// fit returns how many of the items go into one message of about MaxPage.
func fit(items int, size func(i int) int) (n int) {
	for bytes := 0; n < items && bytes < eventlog.MaxPage; n++ {
		bytes += size(n)
	}
	return n
}

// sendOneByOne is for clients that know of record alone: they get no signs of
// life.
func sendOneByOne(stream pb.Event_StreamStream, page *plugin.Page) error {
	for _, r := range page.Records {
		err := stream.Send(&pb.StreamResponse{Log: page.Log, Record: r, Cursor: r.Sequence, Last: page.Last, Skipped: page.Skipped})
		if err != nil {
			return err
		}
	}
	return nil
}

// Consume serves one connection of a member of a durable subscription.
func (h *handler) Consume(ctx context.Context, stream pb.Event_ConsumeStream) error {
	ctx, leave, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	first, err := stream.Recv()
	if err != nil {
		return h.ended(err)
	}
	if first.Subscription == nil {
		return invalid("subscription: missing")
	}
	member, err := h.log.Join(ctx, plugin.Membership{
		Conf: first.Subscription, Member: first.Member, Credit: int(first.Credit), Held: first.Held, Log: first.Log,
	})
	if err != nil {
		return refuse(err)
	}
	defer member.Detach()
	if err := stream.Send(&pb.ConsumeResponse{Log: h.log.ID()}); err != nil {
		return h.ended(err)
	}
	// It ends with the stream, which ends when we return.
	told := make(chan error, 1)
	delivering, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		told <- listen(stream, member)
		stop()
	}()
	if err := deliver(delivering, stream, member); ctx.Err() != nil || delivering.Err() == nil {
		return h.ended(err)
	}
	if err := <-told; !errors.Is(err, errLeave) {
		return h.ended(context.Canceled) // the client is gone without a word
	}
	if err := member.Leave(ctx); err != nil {
		return h.ended(err)
	}
	return h.ended(stream.Send(&pb.ConsumeResponse{Left: true}))
}

var errLeave = errors.New("the member leaves")

type settler interface {
	Settle(settled []*pb.Settlement, touched []uint64)
}

// listen hears what became of deliveries.
func listen(stream pb.Event_ConsumeStream, m settler) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		m.Settle(req.Settled, req.Touched)
		if req.Leave {
			return errLeave
		}
	}
}

type deliverer interface {
	Next(ctx context.Context) ([]*pb.Delivery, uint64, error)
}

func deliver(ctx context.Context, stream pb.Event_ConsumeStream, m deliverer) error {
	for {
		all, lag, err := m.Next(ctx)
		if err != nil {
			return err
		}
		for first := true; first || len(all) > 0; first = false {
			n := fit(len(all), func(i int) int { return proto.Size(all[i]) })
			if err := stream.Send(&pb.ConsumeResponse{Deliveries: all[:n], Lag: lag}); err != nil {
				return err
			}
			all = all[n:]
		}
	}
}
