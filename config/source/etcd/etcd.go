// Package etcd is a source of the keys below a path in etcd. Changes are seen at
// once by a watch.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/internal/keys"
)

// DefaultPath is what is read unless config.SourceName names another path.
var DefaultPath = "/micro/config"

// defaultHost is where etcd listens.
const defaultHost = "127.0.0.1:2379"

const readTimeout = 5 * time.Second

type credentialsKey struct{}

// Credentials are those of etcd's own accounts.
func Credentials(user, password string) config.SourceOption {
	return func(o *config.SourceOptions) {
		o.Context = context.WithValue(o.Context, credentialsKey{}, [2]string{user, password})
	}
}

type source struct {
	label  string
	tree   keys.Tree
	config clientv3.Config
	err    error
}

// NewSource returns a source of the etcd cluster at config.SourceHosts, else at
// 127.0.0.1:2379.
//
// The key that is the path itself may hold a whole document, in
// config.SourceFormat. The keys below it hold single values, JSON or else text,
// and win: with the default path the key /micro/config/db/host is the value at
// "db", "host". All are read at one revision. Nothing at all is
// config.ErrNotFound, so that values which were there stay.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultPath
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{defaultHost}
	}
	s := &source{label: "etcd:" + o.Name, tree: keys.Tree{Root: strings.TrimRight(o.Name, "/"), Format: o.Format}}
	s.config = clientv3.Config{
		Endpoints: o.Hosts, TLS: o.TLS, DialTimeout: readTimeout, Logger: zap.NewNop(),
		// A server that hangs is left; it allows a ping every five seconds.
		DialKeepAliveTime: 6 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	}
	if c, ok := o.Context.Value(credentialsKey{}).([2]string); ok {
		s.config.Username, s.config.Password = c[0], c[1]
	}
	if s.tree.Root == "" {
		s.err = fmt.Errorf("read %s: option SourceName: %w: empty path", s.label, config.ErrInvalid)
	}
	return s
}

// String implements config.Source.
func (s *source) String() string { return s.label }

// client returns a client of its own for one Read or one watcher: a source is
// not told when it is no longer needed.
func (s *source) client(ctx context.Context) (*clientv3.Client, error) {
	if s.err != nil {
		return nil, s.err
	}
	c := s.config
	c.Context = ctx
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", s.label, config.ErrUnavailable, err)
	}
	return client, nil
}

// Read implements config.Source.
func (s *source) Read() (*config.ChangeSet, error) { return s.ReadContext(context.Background()) }

// ReadContext implements config.ContextSource.
func (s *source) ReadContext(ctx context.Context) (*config.ChangeSet, error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // nothing is lost with it
	cs, _, err := s.read(ctx, client)
	return cs, err
}

// read returns the document and the revision that it is of.
func (s *source) read(ctx context.Context, client *clientv3.Client) (*config.ChangeSet, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// One answer is one revision. Keys that only begin like the path are few.
	rsp, err := client.Get(ctx, s.tree.Root, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w: %w", s.label, config.ErrUnavailable, err)
	}
	found := map[string][]byte{}
	for _, kv := range rsp.Kvs {
		found[string(kv.Key)] = kv.Value
	}
	data, err := s.tree.Document(found)
	if err != nil {
		return nil, rsp.Header.Revision, fmt.Errorf("read %s: %w", s.label, err)
	}
	return config.NewChangeSet(s.label, "json", data), rsp.Header.Revision, nil
}

// Watch implements config.Source.
func (s *source) Watch() (config.SourceWatcher, error) { return s.WatchContext(context.Background()) }

// WatchContext implements config.ContextSource.
func (s *source) WatchContext(ctx context.Context) (config.SourceWatcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	client, err := s.client(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watcher{source: s, ctx: ctx, client: client}
	w.end = sync.OnceFunc(func() {
		cancel()
		_ = client.Close() // it says that its context is over
	})
	return w, nil
}

type watcher struct {
	source *source
	ctx    context.Context
	client *clientv3.Client
	events clientv3.WatchChan
	last   string // checksum
	end    func()
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	for {
		if w.events == nil { // read first: the watch begins where the reading ended
			cs, revision, err := w.source.read(w.ctx, w.client)
			if w.ctx.Err() != nil {
				return nil, fmt.Errorf("watch %s: %w", w.source, config.ErrStopped)
			}
			if err != nil && !errors.Is(err, config.ErrNotFound) {
				return nil, err
			}
			w.events = w.client.Watch(clientv3.WithRequireLeader(w.ctx), w.source.tree.Root, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
			if err == nil && cs.Checksum != w.last {
				w.last = cs.Checksum
				return cs, nil
			}
		}
		rsp, open := <-w.events
		if w.ctx.Err() != nil {
			return nil, fmt.Errorf("watch %s: %w", w.source, config.ErrStopped)
		}
		if err := rsp.Err(); !open || err != nil { // also when the revision was compacted away
			return nil, fmt.Errorf("watch %s: %w: %w", w.source, config.ErrUnavailable, errors.Join(err, errClosed(open)))
		}
		cs, _, err := w.source.read(w.ctx, w.client)
		switch {
		case w.ctx.Err() != nil:
			return nil, fmt.Errorf("watch %s: %w", w.source, config.ErrStopped)
		case errors.Is(err, config.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		case cs.Checksum != w.last:
			w.last = cs.Checksum
			return cs, nil
		}
	}
}

func errClosed(open bool) error {
	if open {
		return nil
	}
	return errors.New("the watch was closed")
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.end()
	return nil
}
