package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/option"
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
	return &remote{opts: o, hosts: rpc.NewAddrs(o.Hosts...)}
}

type remote struct {
	opts  SourceOptions
	hosts *rpc.Addrs

	mu       sync.Mutex
	revision int64 // of the newest answer
	checksum string
}

// String implements Source.
func (r *remote) String() string { return "config-srv:" + r.opts.Name }

func (r *remote) service() (pb.ConfigService, func()) {
	c, release := r.hosts.Acquire(r.opts.Client, r.opts.TLS)
	return pb.NewConfigService(ServiceName, c), release
}

func (r *remote) validate() error {
	c := option.Of("config")
	if _, _, err := conftree.ParseID(r.opts.Name); err != nil {
		c.That(false, "SourceName", "%.64q is not NAMESPACE:CONFIG", r.opts.Name)
	}
	for _, host := range r.opts.Hosts {
		c.That(rpc.IsAddress(host), "SourceHosts", "%.64q is not host:port", host)
	}
	return c.Err()
}

// Read implements Source.
func (r *remote) Read() (*ChangeSet, error) { return r.ReadContext(context.Background()) }

// ReadContext implements ContextSource.
func (r *remote) ReadContext(ctx context.Context) (*ChangeSet, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(1+max(1, len(r.opts.Hosts)))*rpc.DefaultTimeout)
	defer cancel()
	service, release := r.service()
	defer release()
	var rsp *pb.ReadResponse
	err := r.hosts.Call(ctx, "config: read "+r.String(), rpc.DefaultTimeout, func(opts ...client.CallOption) (err error) {
		rsp, err = service.Read(ctx, &pb.ReadRequest{Id: r.opts.Name, Instance: r.opts.Instance, Labels: r.opts.Labels}, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.changeSet(rsp.Change.GetChangeSet(), rsp.Revision)
}

func (r *remote) changeSet(cs *pb.ChangeSet, revision int64) (*ChangeSet, error) {
	if cs == nil {
		return nil, fmt.Errorf("config: read %s: %w: answer without a change set", r, ErrInvalid)
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
		Id: r.opts.Name, Revision: r.revision, Checksum: r.checksum, Instance: r.opts.Instance, Labels: r.opts.Labels, Alive: true,
	}
	r.mu.Unlock()
	opts := []client.CallOption{client.WithDialTimeout(rpc.DefaultTimeout)}
	if w.at = r.hosts.At(); w.at != "" {
		opts = append(opts, client.WithAddress(w.at))
	}
	var err error
	if w.stream, err = service.Watch(ctx, req, opts...); err != nil {
		r.hosts.Leave(w.at)
		err = rpcerr.From(ctx, "config: watch "+r.String(), err)
		w.end()
		return nil, err
	}
	return w, nil
}

type remoteWatcher struct {
	source *remote
	ctx    context.Context
	stream pb.Config_WatchService
	at     string // the address of SourceHosts, or empty
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
	if w.over {
		return fmt.Errorf("config: watch %s: %w", w.source, ErrStopped)
	}
	w.source.hosts.Leave(w.at)
	switch {
	case errors.Is(err, io.EOF), w.ctx.Err() != nil, strings.Contains(err.Error(), "EOF"):
		return fmt.Errorf("config: watch %s: %w: the stream ended", w.source, ErrUnavailable)
	}
	return rpcerr.From(context.Background(), "config: watch "+w.source.String(), err)
}

// Stop implements SourceWatcher.
func (w *remoteWatcher) Stop() error {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.end()
	return nil
}
