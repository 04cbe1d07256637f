// Package consul is a source of the keys below a path in Consul's key/value
// store. Changes are seen at once by blocking queries.
package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/internal/keys"
)

// DefaultPath is what is read unless config.SourceName names another path.
var DefaultPath = "/micro/config"

const (
	readTimeout = 5 * time.Second
	waitTime    = 5 * time.Minute
)

type tokenKey struct{}

// Token is the ACL token, that of CONSUL_HTTP_TOKEN unless given.
func Token(token string) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, tokenKey{}, token) }
}

type source struct {
	label  string
	tree   keys.Tree
	kv     *api.KV
	client *http.Client
	err    error
}

// NewSource returns a source of a Consul agent, at config.SourceHosts or where
// Consul's own variables of the environment say, else at 127.0.0.1:8500.
//
// The key that is the path itself may hold a whole document, in
// config.SourceFormat. The keys below it hold single values, JSON or else text,
// and win: with the default path the key micro/config/db/host is the value at
// "db", "host". Nothing at all is config.ErrNotFound, so that values which were
// there stay.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultPath
	}
	s := &source{label: "consul:" + o.Name}
	s.tree = keys.Tree{Root: strings.Trim(o.Name, "/"), Format: o.Format}
	c := api.DefaultConfig()
	if len(o.Hosts) > 0 {
		c.Address = o.Hosts[0] // an agent knows the whole cluster
	}
	if token, ok := o.Context.Value(tokenKey{}).(string); ok {
		c.Token = token
	}
	if o.TLS != nil {
		c.Scheme, c.Transport.TLSClientConfig = "https", o.TLS
	}
	c.Transport.IdleConnTimeout = readTimeout
	s.client = &http.Client{Transport: c.Transport}
	c.HttpClient = s.client
	client, err := api.NewClient(c)
	switch {
	case err != nil:
		s.err = fmt.Errorf("read %s: %w", s.label, err)
	case s.tree.Root == "":
		s.err = fmt.Errorf("read %s: option SourceName: %w: empty path", s.label, config.ErrInvalid)
	default:
		s.kv = client.KV()
	}
	return s
}

// String implements config.Source.
func (s *source) String() string { return s.label }

// Read implements config.Source.
func (s *source) Read() (*config.ChangeSet, error) { return s.ReadContext(context.Background()) }

// ReadContext implements config.ContextSource.
func (s *source) ReadContext(ctx context.Context) (*config.ChangeSet, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	cs, _, err := s.read(ctx, 0)
	return cs, err
}

// read waits for an index after the given one, unless that is zero.
func (s *source) read(ctx context.Context, after uint64) (*config.ChangeSet, uint64, error) {
	if s.err != nil {
		return nil, 0, s.err
	}
	q := (&api.QueryOptions{WaitIndex: after, WaitTime: waitTime}).WithContext(ctx)
	pairs, meta, err := s.kv.List(s.tree.Root, q)
	if err != nil {
		return nil, 0, s.failed(ctx, err)
	}
	found := map[string][]byte{}
	for _, p := range pairs {
		found[p.Key] = p.Value
	}
	data, err := s.tree.Document(found)
	if err != nil {
		return nil, meta.LastIndex, fmt.Errorf("read %s: %w", s.label, err)
	}
	return config.NewChangeSet(s.label, "json", data), meta.LastIndex, nil
}

func (s *source) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read %s: %w: %w", s.label, config.ErrUnavailable, ctx.Err())
	}
	return fmt.Errorf("read %s: %w: %w", s.label, config.ErrUnavailable, err)
}

// Watch implements config.Source.
func (s *source) Watch() (config.SourceWatcher, error) { return s.WatchContext(context.Background()) }

// WatchContext implements config.ContextSource.
func (s *source) WatchContext(ctx context.Context) (config.SourceWatcher, error) {
	if s.err != nil {
		return nil, s.err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &watcher{source: s, ctx: ctx, cancel: cancel}, nil
}

type watcher struct {
	source *source
	ctx    context.Context
	cancel context.CancelFunc
	index  uint64
	last   string // checksum
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	for {
		cs, index, err := w.source.read(w.ctx, w.index)
		if w.ctx.Err() != nil {
			return nil, fmt.Errorf("watch %s: %w", w.source, config.ErrStopped)
		}
		if index < w.index { // Consul was restored or lost its state: start over
			index = 0
		}
		w.index = index
		switch {
		case errors.Is(err, config.ErrNotFound) && index > 0:
			continue // the next index may have something
		case err != nil:
			return nil, err
		case cs.Checksum != w.last:
			w.last = cs.Checksum
			return cs, nil
		}
	}
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.cancel()
	w.source.client.CloseIdleConnections()
	return nil
}
