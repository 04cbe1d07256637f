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
	"github.com/micro/go-platform/internal/etcdclient"
	"github.com/micro/go-platform/internal/option"
)

// DefaultPath is what is read unless config.SourceName names another path.
var DefaultPath = "/micro/config"

// defaultHost is where etcd listens.
const defaultHost = "127.0.0.1:2379"

const readTimeout = 5 * time.Second

// User sets the name and password of a user of etcd. The default is none, for a
// cluster without authentication.
func User(name, password string) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = etcdclient.WithUser(o.Context, name, password) }
}

type source struct {
	label  string
	tree   keys.Tree
	config clientv3.Config
	err    error
}

// NewSource returns a source of the etcd cluster at config.SourceHosts, by default
// 127.0.0.1:2379. Its user needs to read the path and the keys that begin with the
// path and a slash.
//
// The key that is the path itself may hold a whole document, in
// config.SourceFormat. The keys below it hold single values, JSON or else text,
// and win: with the default path the key /micro/config/db/host is the value at
// "db", "host". All are read at one revision. A key with a bad name, or below
// another key, is left out and reported in Skipped. Without any key the error is
// config.ErrNotFound, so that earlier values stay.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultPath
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{defaultHost}
	}
	s := &source{label: "etcd:" + o.Name, tree: keys.Tree{Root: strings.TrimRight(o.Name, "/"), Format: o.Format}}
	as := option.From[etcdclient.User](o.Context)
	s.config = clientv3.Config{
		Endpoints: o.Hosts, TLS: o.TLS, DialTimeout: readTimeout, Logger: zap.NewNop(), Username: as.Name, Password: as.Password,
		// A server that hangs is left; it allows a ping every five seconds.
		DialKeepAliveTime: 6 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	}
	c := option.Of("config")
	c.That(s.tree.Root != "", "SourceName", "%q is an empty path", o.Name)
	s.err = c.Err()
	return s
}

// String implements config.Source.
func (s *source) String() string { return s.label }

// client returns a new client for one Read or one watcher: a source has no Stop
// that could close a shared one.
func (s *source) client(ctx context.Context) (*clientv3.Client, error) {
	if s.err != nil {
		return nil, s.err
	}
	c := s.config
	c.Context = ctx
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("config: read %s: %w: %w", s.label, config.ErrUnavailable, err)
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
	// One transaction is one revision, and needs no right to read other keys that
	// only begin like the path.
	rsp, err := client.Txn(ctx).Then(clientv3.OpGet(s.tree.Root), clientv3.OpGet(s.below(), clientv3.WithPrefix())).Commit()
	if err != nil {
		return nil, 0, fmt.Errorf("config: read %s: %w: %w", s.label, config.ErrUnavailable, err)
	}
	found := map[string][]byte{}
	for _, part := range rsp.Responses {
		for _, kv := range part.GetResponseRange().Kvs {
			found[string(kv.Key)] = kv.Value
		}
	}
	data, skipped, err := s.tree.Document(found)
	if err != nil {
		return nil, rsp.Header.Revision, fmt.Errorf("config: read %s: %w", s.label, err)
	}
	cs := config.NewChangeSet(s.label, "json", data)
	cs.Skipped = skipped
	return cs, rsp.Header.Revision, nil
}

// below returns the prefix of the keys below the path.
func (s *source) below() string { return s.tree.Root + "/" }

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
	source          *source
	ctx             context.Context
	client          *clientv3.Client
	document, below clientv3.WatchChan // nil until the first reading
	last            string             // checksum
	end             func()
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	for {
		if w.document == nil { // read first: the watch begins where the reading ended
			cs, revision, err := w.source.read(w.ctx, w.client)
			if w.ctx.Err() != nil {
				return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
			}
			if err != nil && !errors.Is(err, config.ErrNotFound) {
				return nil, err
			}
			w.listen(revision + 1)
			if err == nil && cs.Checksum != w.last {
				w.last = cs.Checksum
				return cs, nil
			}
		}
		if err := w.event(); err != nil {
			return nil, err
		}
		cs, _, err := w.source.read(w.ctx, w.client)
		switch {
		case w.ctx.Err() != nil:
			return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
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

// listen watches from a revision on.
func (w *watcher) listen(revision int64) {
	ctx := clientv3.WithRequireLeader(w.ctx)
	w.document = w.client.Watch(ctx, w.source.tree.Root, clientv3.WithRev(revision))
	w.below = w.client.Watch(ctx, w.source.below(), clientv3.WithPrefix(), clientv3.WithRev(revision))
}

// event waits until something changes.
func (w *watcher) event() error {
	var rsp clientv3.WatchResponse
	var open bool
	select {
	case rsp, open = <-w.document:
	case rsp, open = <-w.below:
	}
	if w.ctx.Err() != nil {
		return fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
	}
	if err := rsp.Err(); !open || err != nil { // also when the revision was compacted away
		return fmt.Errorf("config: watch %s: %w: %w", w.source, config.ErrUnavailable, errors.Join(err, errClosed(open)))
	}
	return nil
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
