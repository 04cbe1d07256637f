// Package consul is a source of the keys below a path in Consul's key/value
// store. Changes are seen at once by blocking queries.
package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/internal/keys"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/consulagents"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/option"
)

// DefaultPath is what is read unless config.SourceName names another path.
var DefaultPath = "/micro/config"

const (
	readTimeout = 5 * time.Second
	waitTime    = 5 * time.Minute
)

type tokenKey struct{}

// Token sets the ACL token; the default is the one in CONSUL_HTTP_TOKEN.
func Token(acl string) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, tokenKey{}, acl) }
}

type source struct {
	label string
	token string
	tries int // one for each agent
	tree  keys.Tree
	kv    *api.KV
	idle  func() // closes connections that are not in use
	err   error
}

// NewSource returns a source of Consul's agents at config.SourceHosts. When one is
// dead or hangs the next is asked. The default is the agent that Consul's own
// environment variables name, else 127.0.0.1:8500.
//
// The key that is the path itself may hold a whole document, in
// config.SourceFormat. The keys below it hold single values, JSON or else text,
// and win: with the default path the key micro/config/db/host is the value at
// "db", "host". A key with a bad name, or below another key, is left out and
// reported in Skipped. Without any key the error is config.ErrNotFound, so that
// earlier values stay.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultPath
	}
	s := &source{label: "consul:" + o.Name, tries: max(1, len(o.Hosts))}
	s.tree = keys.Tree{Root: strings.Trim(o.Name, "/"), Format: o.Format}
	s.token, _ = o.Context.Value(tokenKey{}).(string)
	client, idle, err := consulagents.NewClient(o.Hosts, o.TLS, s.token)
	s.idle = idle
	c := option.Of("config")
	c.That(err == nil, "SourceHosts", "%.256q: %v", o.Hosts, err)
	c.That(s.tree.Root != "", "SourceName", "%q is an empty path", o.Name)
	if s.err = c.Err(); s.err == nil {
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
	if s.err != nil {
		return nil, s.err
	}
	defer s.idle()
	var cs *config.ChangeSet
	var err error
	for range s.tries {
		bound, cancel := lifecycle.Bound(ctx, readTimeout)
		cs, _, err = s.read(bound)
		cancel()
		if !errors.Is(err, config.ErrUnavailable) || ctx.Err() != nil {
			break
		}
	}
	return cs, err
}

// indexes are those of Consul for the document and for the keys below it. What
// only begins like the path is not asked for: it may be secret, and changes often.
type indexes struct{ document, below uint64 }

// read returns what is there and the indexes that it is of.
func (s *source) read(ctx context.Context) (*config.ChangeSet, indexes, error) {
	var is indexes
	found := map[string][]byte{}
	pair, meta, err := s.kv.Get(s.tree.Root, s.query(ctx, 0))
	if err != nil {
		return nil, is, s.failed(ctx, err)
	}
	is.document = max(1, meta.LastIndex) // 0 would not wait
	if pair != nil {
		found[pair.Key] = pair.Value
	}
	pairs, meta, err := s.kv.List(s.below(), s.query(ctx, 0))
	if err != nil {
		return nil, is, s.failed(ctx, err)
	}
	is.below = max(1, meta.LastIndex)
	for _, p := range pairs {
		found[p.Key] = p.Value
	}
	data, skipped, err := s.tree.Document(found)
	if err != nil {
		return nil, is, fmt.Errorf("config: read %s: %w", s.label, err)
	}
	cs := config.NewChangeSet(s.label, "json", data)
	cs.Skipped = skipped
	return cs, is, nil
}

// below returns the prefix of the keys below the path.
func (s *source) below() string { return s.tree.Root + "/" }

// query waits for an index after the given one, unless that is zero.
func (s *source) query(ctx context.Context, after uint64) *api.QueryOptions {
	return (&api.QueryOptions{WaitIndex: after, WaitTime: waitTime, Token: s.token}).WithContext(ctx)
}

// await returns when the document or a key below it may have changed, or after
// waitTime.
func (s *source) await(ctx context.Context, after indexes) error {
	// Consul answers up to a sixteenth later; without an answer it hangs.
	ctx, cancel := lifecycle.Bound(ctx, waitTime+waitTime/16+readTimeout)
	defer cancel()
	answers := make(chan error, 2)
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _, err := s.kv.Get(s.tree.Root, s.query(ctx, after.document))
		answers <- err
	})
	asking.Go(func() {
		_, _, err := s.kv.Keys(s.below(), "", s.query(ctx, after.below))
		answers <- err
	})
	err := <-answers
	if err != nil {
		err = s.failed(ctx, err)
	}
	cancel() // what the other says is of no interest
	asking.Wait()
	return err
}

func (s *source) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("config: read %s: %w: %w", s.label, config.ErrUnavailable, ctx.Err())
	}
	return fmt.Errorf("config: read %s: %w: %w", s.label, config.ErrUnavailable, clean.URLError(err))
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
	read   indexes // zero before the first reading, and after one that failed
	last   string  // checksum
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	for {
		cs, err := w.next()
		switch {
		case w.ctx.Err() != nil:
			return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
		case errors.Is(err, config.ErrNotFound):
			continue // later there may be something
		case err != nil:
			w.read = indexes{}
			return nil, err
		case cs.Checksum != w.last:
			w.last = cs.Checksum
			return cs, nil
		}
	}
}

// next waits for a change, unless there was no reading before, and reads.
func (w *watcher) next() (cs *config.ChangeSet, err error) {
	if w.read != (indexes{}) {
		if err := w.source.await(w.ctx, w.read); err != nil {
			return nil, err
		}
	}
	ctx, cancel := lifecycle.Bound(w.ctx, readTimeout)
	defer cancel()
	cs, w.read, err = w.source.read(ctx)
	return cs, err
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.cancel()
	w.source.idle()
	return nil
}
