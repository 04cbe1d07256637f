package srv

import (
	"context"
	"time"

	pb "github.com/micro/go-platform/monitor/proto"
)

const (
	maxWatchers = 2_000 // of one account
	lifeSign    = 4 * time.Second
)

// Watch implements pb.MonitorHandler. A reader that is slow is told less often,
// never wrongly: it gets the difference between what it knows and what is.
func (h *handler) Watch(ctx context.Context, _ *pb.WatchRequest, stream pb.Monitor_WatchStream) error {
	leave, err := h.watchers.Enter(ctx)
	if err != nil {
		return refuse(err)
	}
	defer leave()
	known := h.state.routing.now.Load()
	if err := send(stream, known.snapshot()); err != nil {
		return err
	}
	alive := time.NewTicker(lifeSign)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.done:
			return nil
		case <-alive.C:
		case <-known.changed:
		}
		now := h.state.routing.now.Load()
		if err := send(stream, now.since(known)); err != nil {
			return err
		}
		known = now
	}
}

func send(stream pb.Monitor_WatchStream, parts []*pb.WatchResponse) error {
	for _, w := range parts {
		if err := stream.Send(w); err != nil {
			return err
		}
	}
	return nil
}
