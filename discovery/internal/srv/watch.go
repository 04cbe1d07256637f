package srv

import (
	"context"
	"slices"
	"time"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/page"
)

const (
	maxWatchers = 2_000 // of one account
	lifeSign    = 4 * time.Second
	maxBatch    = 100 // results of one message
	// watchPace is the least time between two messages to a watcher: what
	// happens meanwhile goes together, so that a thousand nodes that come back
	// do not make a message each for a thousand watchers.
	watchPace = 100 * time.Millisecond
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
	leave, err := h.watchers.Enter(ctx)
	if err != nil {
		return refuse(err)
	}
	defer leave()
	alive := time.NewTicker(lifeSign)
	defer alive.Stop()
	v := h.state.begin(req)
	for sign := true; ; {
		if err := tell(stream, req, h.state.epoch, v, sign); err != nil {
			return err
		}
		rest := watchPace
		if len(v.results) == 0 {
			rest = 0
		}
		changed := v.changed
		v.results, sign = nil, false
		if !h.pause(ctx, rest) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.done:
			return nil
		case <-alive.C:
			sign = true
			continue
		case <-changed:
		}
		v = h.state.next(v.revision)
	}
}

// pause returns false when the stream is to end.
func (h *registryHandler) pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-h.done:
		return false
	case <-timer.C:
		return true
	}
}

// tell sends a view, or a sign of life to a watcher that asked for signs. The
// revision goes with the last message: a watcher that is cut off begins again.
func tell(stream pb.Registry_WatchStream, req *pb.WatchRequest, epoch string, v view, sign bool) error {
	results := v.results
	if req.Service != "" {
		results = slices.DeleteFunc(slices.Clone(results), func(r *pb.Result) bool { return r.Service.Name != req.Service })
	}
	if len(results) == 0 && !(sign && req.Signs) {
		return nil
	}
	size := 1
	if req.Batches {
		size = maxBatch
	}
	for n := page.Fit(results, size); n < len(results); n = page.Fit(results, size) {
		if err := stream.Send(message(results[:n], req.Batches)); err != nil {
			return err
		}
		results = results[n:]
	}
	last := message(results, req.Batches)
	last.Epoch, last.Revision = epoch, v.revision
	return stream.Send(last)
}

func message(results []*pb.Result, batch bool) *pb.WatchResponse {
	if !batch && len(results) > 0 {
		return &pb.WatchResponse{Result: results[0]}
	}
	return &pb.WatchResponse{Results: results}
}
