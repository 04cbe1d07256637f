package srv

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	maxWatchers = 5_000
	lifeSign    = 4 * time.Second
)

type watchers struct{ atomic.Int64 }

// Watch implements pb.PolicyHandler. A watcher that is slow is told less often
// and never wrongly: it gets the difference between what it knows and what is.
func (h *policyHandler) Watch(ctx context.Context, _ *pb.WatchRequest, stream pb.Policy_WatchStream) error {
	defer h.watchers.Add(-1)
	if h.watchers.Add(1) > maxWatchers {
		return refuse(fmt.Errorf("watch: %w: %d watchers already", rpcerr.ErrLimited, maxWatchers))
	}
	known := h.feed.now.Load()
	if err := stream.Send(known.message(nil, h.feed.issuer)); err != nil {
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
		is := h.feed.now.Load()
		if err := stream.Send(is.message(known, h.feed.issuer)); err != nil {
			return err
		}
		known = is
	}
}
