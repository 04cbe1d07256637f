package srv

import (
	"context"
	"sync"
	"time"

	pb "github.com/micro/go-platform/config/proto"
)

const (
	maxWatchers = 2_000 // of one account
	lifeSign    = 4 * time.Second
)

// Watch implements pb.ConfigHandler. A reader that is slow is told less often,
// never something old after something new. A reader that did not ask for signs of
// life gets none: it would take each message for a config.
func (h *handler) Watch(ctx context.Context, req *pb.WatchRequest, stream pb.Config_WatchStream) error {
	if err := checkID("id", req.Id); err != nil {
		return refuse(err)
	}
	if err := checkInstance(req.Instance, req.Labels); err != nil {
		return refuse(err)
	}
	leave, err := h.watchers.Enter(ctx)
	if err != nil {
		return refuse(err)
	}
	defer leave()
	defer h.instances.add(req.Instance, req.Labels)()
	alive := time.NewTicker(lifeSign)
	defer alive.Stop()
	now := h.state.now.Load()
	sent := known(now, req)
	for {
		message := &pb.WatchResponse{Id: req.Id, Revision: now.revision}
		r, found := now.seen(req.Id, req.Instance, req.Labels)
		if found && r.checksum != sent {
			if len(r.data) > maxRead {
				return refuse(tooLarge(req.Id, len(r.data)))
			}
			message.ChangeSet, sent = wireSet(r.data, r.updated), r.checksum
		}
		if message.ChangeSet != nil || req.Alive {
			if err := stream.Send(message); err != nil {
				return err
			}
		}
		var more bool
		if now, more = h.await(ctx, now, sent, req, alive.C); !more {
			return nil
		}
	}
}

// await returns the view that there is something to say of: news, or that all is
// as it was. It returns false when the stream shall end.
func (h *handler) await(ctx context.Context, now *view, sent string, req *pb.WatchRequest, alive <-chan time.Time) (*view, bool) {
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-h.done:
			return nil, false
		case <-alive:
			return h.state.now.Load(), true
		case <-now.changed:
			now = h.state.now.Load()
			if r, found := now.seen(req.Id, req.Instance, req.Labels); found && r.checksum != sent {
				return now, true
			}
		}
	}
}

// known returns the checksum of what the reader has already.
func known(now *view, req *pb.WatchRequest) string {
	if req.Checksum != "" {
		return req.Checksum
	}
	r, found := now.seen(req.Id, req.Instance, req.Labels)
	if found && req.Revision > 0 && req.Revision <= now.revision && r.revision <= req.Revision {
		return r.checksum
	}
	return ""
}

// instances are those that watch here, with their labels.
type instances struct {
	mu    sync.Mutex
	known map[string]*instance
}

type instance struct {
	labels  map[string]string
	watches int
}

// add notes an instance until the returned function is called.
func (i *instances) add(id string, labels map[string]string) func() {
	if id == "" {
		return func() {}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil {
		i.known = make(map[string]*instance)
	}
	if i.known[id] == nil {
		i.known[id] = &instance{}
	}
	i.known[id].labels = labels
	i.known[id].watches++
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.known[id].watches--; i.known[id].watches == 0 {
			delete(i.known, id)
		}
	}
}

// labels returns those of an instance, none when it does not watch here.
func (i *instances) labels(id string) map[string]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if known := i.known[id]; known != nil {
		return known.labels
	}
	return nil
}
