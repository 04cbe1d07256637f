package discovery

import (
	"context"
	"fmt"
	"time"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	maxWatchers = 10_000
	lifeSign    = 4 * time.Second
)

// view is what a watcher is told next.
type view struct {
	results  []*pb.Result
	revision uint64
	changed  <-chan struct{}
}

// begin is the first of a watcher.
func (s *state) begin(req *pb.WatchRequest) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{revision: s.events.revision, changed: s.events.changed}
	if req.Epoch == s.epoch {
		if results, ok := s.events.since(req.Revision); ok {
			v.results = results
			return v
		}
	}
	now := time.Now().Unix()
	if req.Epoch == "" && !req.Snapshot {
		return v // it knew nothing that could have left
	}
	for k, g := range s.graves {
		if s.leases[k] == nil {
			v.results = append(v.results, &pb.Result{Action: "delete", Service: g.service, Timestamp: now})
		}
	}
	if req.Snapshot {
		for _, l := range s.leases {
			v.results = append(v.results, &pb.Result{Action: "update", Service: l.service, Timestamp: now})
		}
	}
	return v
}

// next is what came after a revision. A watcher that is too slow is told all
// there is.
func (s *state) next(revision uint64) view {
	s.mu.Lock()
	results, ok := s.events.since(revision)
	v := view{results: results, revision: s.events.revision, changed: s.events.changed}
	s.mu.Unlock()
	if !ok {
		return s.begin(&pb.WatchRequest{Snapshot: true})
	}
	return v
}

// Watch implements pb.RegistryHandler.
func (h *registryHandler) Watch(ctx context.Context, req *pb.WatchRequest, stream pb.Registry_WatchStream) error {
	defer h.watchers.Add(-1)
	if h.watchers.Add(1) > maxWatchers {
		return refuse(fmt.Errorf("watch: %w: %d watchers already", rpcerr.ErrLimited, maxWatchers))
	}
	alive := time.NewTicker(lifeSign)
	defer alive.Stop()
	v := h.state.begin(req)
	for sign := true; ; {
		if err := tell(stream, req.Service, h.state.epoch, v, sign); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.done:
			return nil
		case <-alive.C:
			v.results, sign = nil, true
			continue
		case <-v.changed:
			sign = false
		}
		v = h.state.next(v.revision)
	}
}

// tell sends a view, or a sign of life. The revision goes with the last message:
// a watcher that is cut off begins again.
func tell(stream pb.Registry_WatchStream, service, epoch string, v view, sign bool) error {
	for _, r := range v.results {
		if service != "" && r.Service.Name != service {
			continue
		}
		sign = true
		if err := stream.Send(&pb.WatchResponse{Result: r}); err != nil {
			return err
		}
	}
	if !sign {
		return nil
	}
	return stream.Send(&pb.WatchResponse{Epoch: epoch, Revision: v.revision})
}
