package srv

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

const (
	maxStreams = 2_000 // of one account
	maxWatched = 1_000 // services of one stream
	keepalive  = 4 * time.Second
)

// SelectStream implements pb.RouterHandler. A reader that is slow is told less
// often, never wrongly: it gets what is, not what was.
func (h *handler) SelectStream(ctx context.Context, req *pb.SelectRequest, stream pb.Router_SelectStreamStream) error {
	leave, err := h.streams.Enter(ctx)
	if err != nil {
		return refuse(err)
	}
	defer leave()
	known, err := checkWatch(req)
	if err != nil {
		return refuse(err)
	}
	id, err := h.asker(ctx, req)
	if err != nil {
		return refuse(err)
	}
	w := &watch{engine: h.engine, id: id, signs: req.Signs}
	defer w.close()
	if err := w.open(known, time.Now()); err != nil {
		return refuse(err)
	}
	return w.run(ctx, h.done, stream)
}

// checkWatch returns the services asked for and which revisions of this or
// another epoch the client has.
func checkWatch(req *pb.SelectRequest) (map[string]*pb.Known, error) {
	if len(req.Known) > maxWatched {
		return nil, rpcerr.Invalid("known", "%d, more than %d", len(req.Known), maxWatched)
	}
	known := make(map[string]*pb.Known, len(req.Known)+1)
	if req.Service != "" {
		if err := checkName("service", req.Service, maxService); err != nil {
			return nil, err
		}
		known[req.Service] = nil
	}
	for _, k := range req.Known {
		if err := checkName("known.service", k.GetService(), maxService); err != nil {
			return nil, err
		}
		known[k.Service] = k
	}
	if len(known) == 0 {
		return nil, rpcerr.Invalid("service", "missing")
	}
	return known, nil
}

// watch is one stream.
type watch struct {
	engine   *engine
	id       *identity
	services []*watched
	signs    bool // the client reads messages without services
}

// watched is one service of a stream.
type watched struct {
	table *table
	sent  uint64 // the revision that the client has
}

// open takes part in the services, so that limits are shared with the caller.
func (w *watch) open(known map[string]*pb.Known, now time.Time) error {
	for service, k := range known {
		t, err := w.engine.use(service, w.id, now)
		if err != nil {
			return err
		}
		one := &watched{table: t}
		if k.GetEpoch() == w.engine.epoch {
			one.sent = k.Revision
		}
		w.services = append(w.services, one)
	}
	return nil
}

// use counts a stream in, so that the service is not forgotten.
func (e *engine) use(service string, id *identity, now time.Time) (*table, error) {
	t, err := e.table(service, now)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id != nil {
		p, err := t.part(*id, false)
		if err != nil {
			return nil, err
		}
		p.streams++
	}
	t.streams++
	if e.share(t, e.clock.slot(now)) {
		e.publish()
	}
	return t, nil
}

func (w *watch) close() {
	for _, s := range w.services {
		s.table.mu.Lock()
		s.table.streams--
		if w.id != nil {
			if p := s.table.parts[w.id.node]; p != nil {
				p.streams--
				p.until = maxTime(p.until, time.Now().Add(linger))
			}
		}
		s.table.mu.Unlock()
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *watch) run(ctx context.Context, done <-chan struct{}, stream pb.Router_SelectStreamStream) error {
	alive := time.NewTicker(keepalive)
	defer alive.Stop()
	for quiet := true; ; { // the client may have all there is: tell it so at once
		changed := w.engine.changed()
		sent, err := w.send(ctx, stream)
		if err == nil && quiet && !sent && w.signs {
			err = stream.Send(&pb.SelectResponse{KeepaliveMs: keepalive.Milliseconds()})
		}
		if err != nil {
			return err
		}
		if sent {
			alive.Reset(keepalive)
		}
		quiet = false
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case <-changed:
		case <-alive.C:
			quiet = true
		}
	}
}

// send tells what is newer than what the client has.
func (w *watch) send(ctx context.Context, stream pb.Router_SelectStreamStream) (sent bool, err error) {
	for _, s := range w.services {
		rsp := s.news(w.id)
		if rsp == nil {
			continue
		}
		if ctx.Err() != nil {
			return sent, nil
		}
		if len(rsp.Services) == 0 && !w.signs {
			s.sent = rsp.Revision
			continue
		}
		if err := stream.Send(rsp); err != nil {
			return sent, err
		}
		s.sent, sent = rsp.Revision, true
	}
	return sent, nil
}

// news is nil when the client has the current revision.
func (s *watched) news(id *identity) *pb.SelectResponse {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if s.table.revision() == s.sent {
		return nil
	}
	var p *part
	if id != nil {
		p = s.table.parts[id.node]
	}
	return s.table.answerFor(p, time.Now())
}
