package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// silence is how long a stream is believed to live without a sign of life, of
// which config-srv sends one every four seconds.
const silence = 15 * time.Second

func now() time.Time { return time.Now() }

// NewSource returns a source of config-srv: the config SourceName, what it
// inherits, and the rollouts that chose SourceInstance. Changes are pushed.
func NewSource(opts ...SourceOption) Source {
	o := NewSourceOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultSourceName
	}
	return &remote{opts: o}
}

type remote struct {
	opts SourceOptions

	mu       sync.Mutex
	revision int64 // of the newest answer
	checksum string
}

// String implements Source.
func (r *remote) String() string { return "config-srv:" + r.opts.Name }

func (r *remote) service() (pb.ConfigService, func()) {
	c, release := rpc.Acquire(r.opts.Client, r.opts.TLS)
	return pb.NewConfigService(ServiceName, c), release
}

func (r *remote) callOptions() []client.CallOption {
	opts := rpc.Options(rpc.DefaultTimeout)
	if len(r.opts.Hosts) > 0 {
		opts = append(opts, client.WithAddress(r.opts.Hosts...))
	}
	return opts
}

func (r *remote) validate() error {
	if _, _, err := conftree.ParseID(r.opts.Name); err != nil {
		return fmt.Errorf("config: option SourceName: %w", err)
	}
	return nil
}

// Read implements Source.
func (r *remote) Read() (*ChangeSet, error) { return r.ReadContext(context.Background()) }

// ReadContext implements ContextSource.
func (r *remote) ReadContext(ctx context.Context) (*ChangeSet, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*rpc.DefaultTimeout)
	defer cancel()
	service, release := r.service()
	defer release()
	rsp, err := service.Read(ctx, &pb.ReadRequest{Id: r.opts.Name, Instance: r.opts.Instance, Labels: r.opts.Labels}, r.callOptions()...)
	if err != nil {
		return nil, rpcerr.From(ctx, "read "+r.String(), err)
	}
	return r.changeSet(rsp.Change.GetChangeSet(), rsp.Revision)
}

func (r *remote) changeSet(cs *pb.ChangeSet, revision int64) (*ChangeSet, error) {
	if cs == nil {
		return nil, fmt.Errorf("read %s: %w: answer without a change set", r, ErrInvalid)
	}
	r.mu.Lock()
	r.revision, r.checksum = revision, cs.Checksum
	r.mu.Unlock()
	return NewChangeSet(r.String(), "json", []byte(cs.Data)), nil
}

// Watch implements Source.
func (r *remote) Watch() (SourceWatcher, error) { return r.WatchContext(context.Background()) }

// WatchContext implements ContextSource.
func (r *remote) WatchContext(ctx context.Context) (SourceWatcher, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	service, release := r.service()
	w := &remoteWatcher{source: r, ctx: ctx}
	w.dead = time.AfterFunc(silence, cancel) // a server that hangs keeps the stream open
	w.end = sync.OnceFunc(func() {
		w.dead.Stop()
		cancel()
		release()
	})
	r.mu.Lock()
	req := &pb.WatchRequest{
		Id: r.opts.Name, Revision: r.revision, Checksum: r.checksum, Instance: r.opts.Instance, Labels: r.opts.Labels,
	}
	r.mu.Unlock()
	opts := []client.CallOption{client.WithDialTimeout(rpc.DefaultTimeout)}
	if hosts := r.opts.Hosts; len(hosts) > 0 {
		opts = append(opts, client.WithAddress(slices.Clone(hosts)...))
	}
	var err error
	if w.stream, err = service.Watch(ctx, req, opts...); err != nil {
		err = rpcerr.From(ctx, "watch "+r.String(), err)
		w.end()
		return nil, err
	}
	return w, nil
}

type remoteWatcher struct {
	source *remote
	ctx    context.Context
	stream pb.Config_WatchService
	dead   *time.Timer
	mu     sync.Mutex
	over   bool
	end    func()
}

// Next implements SourceWatcher.
func (w *remoteWatcher) Next() (*ChangeSet, error) {
	for {
		rsp, err := w.stream.Recv()
		if err != nil {
			return nil, w.failed(err)
		}
		w.dead.Reset(silence)
		if rsp.ChangeSet != nil {
			return w.source.changeSet(rsp.ChangeSet, rsp.Revision)
		}
	}
}

func (w *remoteWatcher) failed(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
		return fmt.Errorf("watch %s: %w", w.source, ErrStopped)
	case errors.Is(err, io.EOF), w.ctx.Err() != nil, strings.Contains(err.Error(), "EOF"):
		return fmt.Errorf("watch %s: %w: the stream ended", w.source, ErrUnavailable)
	}
	return rpcerr.From(context.Background(), "watch "+w.source.String(), err)
}

// Stop implements SourceWatcher.
func (w *remoteWatcher) Stop() error {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.end()
	return nil
}
