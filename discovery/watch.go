package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"
	"google.golang.org/grpc/status"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
)

// patience is how long a stream may be silent: discovery-srv gives a sign of
// life every four seconds.
const patience = 15 * time.Second

// place is how far a watcher has come.
type place struct {
	epoch    string
	revision uint64
}

// stream is one connection of a watcher.
type stream struct {
	pb.Registry_WatchService
	ctx    context.Context
	cancel context.CancelFunc
	dead   *time.Timer
}

// open begins a stream and returns after its first message, so that nothing
// that happens afterwards is missed.
func (r *remote) open(ctx context.Context, service string, from place, snapshot bool) (s *stream, first *pb.WatchResponse, err error) {
	err = r.call(ctx, r.reads, "watch "+ServiceName, func(_ context.Context, api pb.RegistryService, opts ...client.CallOption) error {
		s = &stream{}
		s.ctx, s.cancel = context.WithCancel(ctx)
		s.dead = time.AfterFunc(callTimeout, s.cancel) // longer once it lives
		s.Registry_WatchService, err = api.Watch(s.ctx, &pb.WatchRequest{
			Service: service, Epoch: from.epoch, Revision: from.revision, Snapshot: snapshot, Batches: true, Signs: true,
		}, opts...)
		if err == nil {
			first, err = s.recv()
		}
		if err != nil {
			s.close()
			err = lost(err)
		}
		return err
	})
	return s, first, err
}

// lost says what the end of a stream means: another server may do better unless
// this one refused. Errors of streams arrive as plain grpc ones.
func lost(err error) error {
	if code := merrors.Parse(status.Convert(err).Message()).Code; code >= 400 && code < 500 {
		return merrors.New(ServiceName, err.Error(), code)
	}
	return merrors.New(ServiceName, err.Error(), 503)
}

func (s *stream) recv() (*pb.WatchResponse, error) {
	got, err := s.Recv()
	if err == nil {
		s.dead.Reset(patience)
	}
	return got, err
}

func (s *stream) close() {
	s.dead.Stop()
	s.cancel()
	if s.Registry_WatchService != nil {
		_ = s.Close() // it only says that the stream is over
	}
}

// watcher is a registry.Watcher of discovery-srv.
type watcher struct {
	remote  *remote
	service string
	once    bool // Next fails when the connection is lost
	ctx     context.Context
	cancel  context.CancelFunc
	wait    backoff.Backoff

	next    sync.Mutex // one reader at a time
	place   *place
	stream  *stream
	first   *pb.WatchResponse
	results []*pb.Result // heard and not told yet
}

// someEpoch is not a server's: whoever names it is told first of all that left of
// late.
const someEpoch = "unknown"

// Watch returns a watcher that lives as long as its connection and goes on where
// the one before ended: it is for the cache, which fetches what it missed. What
// the cache held before the first watcher may have left since, and no answer
// that lacks a node is believed as its tombstone is: the first watcher begins
// with the tombstones then.
func (r *remote) Watch(...registry.WatchOption) (registry.Watcher, error) {
	for {
		if r.place.epoch == "" && r.asked.Load() {
			r.place.epoch = someEpoch
		}
		w, err := r.watch("", &r.place, true)
		if err != nil {
			return nil, err
		}
		if r.place.epoch != "" || !r.asked.Load() {
			return w, nil
		}
		w.Stop() // the cache asked meanwhile
		w.stream.close()
	}
}

// watch returns a watcher. One that reconnects never fails to begin.
func (r *remote) watch(service string, from *place, once bool) (*watcher, error) {
	w := &watcher{remote: r, service: service, once: once, place: from, wait: backoff.Backoff{Max: 2 * time.Second}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	err := w.connect(false)
	if err != nil && (once || errors.Is(err, ErrStopped)) {
		w.cancel()
		return nil, err
	}
	return w, nil
}

func (w *watcher) connect(snapshot bool) (err error) {
	w.stream, w.first, err = w.remote.open(w.ctx, w.service, *w.place, snapshot)
	if err != nil {
		w.stream = nil
	}
	return err
}

// Next implements registry.Watcher.
func (w *watcher) Next() (*registry.Result, error) {
	w.next.Lock()
	defer w.next.Unlock()
	for {
		if len(w.results) > 0 && w.ctx.Err() == nil {
			r := w.results[0]
			w.results = w.results[1:]
			return &registry.Result{Action: r.Action, Service: r.Service.Registry()}, nil
		}
		got, err := w.message()
		switch {
		case w.ctx.Err() != nil:
			return nil, registry.ErrWatcherStopped
		case err != nil && w.once:
			return nil, rpcerr.From(w.ctx, "watch "+ServiceName, err)
		case err != nil:
			if errors.Is(err, ErrStopped) {
				return nil, registry.ErrWatcherStopped
			}
			_ = w.wait.Wait(w.ctx) // seen above when it ended
			continue
		}
		w.wait.Reset()
		if got.Epoch != "" {
			*w.place = place{got.Epoch, got.Revision}
		}
		w.results = got.Results
	}
}

// message returns the next message, over a new connection when there is none.
func (w *watcher) message() (*pb.WatchResponse, error) {
	if w.stream == nil {
		if err := w.connect(true); err != nil {
			return nil, err
		}
	}
	if got := w.first; got != nil {
		w.first = nil
		return got, nil
	}
	got, err := w.stream.recv()
	if err != nil {
		w.stream.close()
		w.stream = nil
	}
	return got, err
}

// Stop implements registry.Watcher.
func (w *watcher) Stop() { w.cancel() }

// shutWatcher turns nodes that drain into nodes that left.
type shutWatcher struct {
	registry.Watcher
	left *registry.Result
}

// Next implements registry.Watcher.
func (w *shutWatcher) Next() (*registry.Result, error) {
	if left := w.left; left != nil {
		w.left = nil
		return left, nil
	}
	got, err := w.Watcher.Next()
	if err != nil || got == nil || got.Service == nil || got.Action == "delete" {
		return got, err
	}
	open, shut := split(got.Service)
	if shut == nil {
		return got, nil
	}
	left := &registry.Result{Action: "delete", Service: shut}
	if len(open.Nodes) == 0 {
		return left, nil
	}
	w.left = left
	return &registry.Result{Action: got.Action, Service: open}, nil
}

// split returns s without the nodes that are draining, and with only them; the
// second is nil when there are none.
func split(s *registry.Service) (open, shut *registry.Service) {
	if open = regcache.Open(s); len(open.Nodes) == len(s.Nodes) {
		return s, nil
	}
	copied := *s
	copied.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n *registry.Node) bool { return !regcache.IsDraining(n) })
	return open, &copied
}
