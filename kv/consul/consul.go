// Package consul is kv on Consul.
//
// Keys are "kv/namespace/key", with '=' and two hexadecimal digits for all but
// letters, digits, '_' and '-'. The exact end of an item that expires stands in
// front of its value and is checked here by the wall clock. It is also locked by
// a session of its own that deletes it: Consul's sessions live 10 s to 24 h and
// end up to twice as late. An item that lives longer than 24 h stays in Consul
// after its end until somebody reads it.
//
// The optional abilities are transactions. What Consul has acknowledged survives
// the loss of a minority of its servers. Its store is made for configuration,
// not for speed: every write goes through its log, after a read that tells which
// session it ends. The environment of Consul's own clients (CONSUL_HTTP_TOKEN,
// ...) is respected.
package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/consulagents"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/internal/stamp"
	"github.com/micro/go-platform/kv/plugin"
)

// Token sets the ACL token. It needs to read and write the keys below
// "kv/namespace/" and, for items that expire, sessions. The default is the token
// of the environment (CONSUL_HTTP_TOKEN).
func Token(acl string) kv.Option {
	return func(o *kv.Options) { o.Context = option.With(o.Context, func(t *token) { *t = token(acl) }) }
}

type token string

// NewKV returns a KV on the agents at Servers, by default 127.0.0.1:8500 or what
// the environment says; when one cannot be reached the next is used. It takes the
// option Token.
func NewKV(opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	s := &store{}
	s.Remote = plugin.NewRemote(o, failed, s.open, func() error { s.idle(); return nil })
	s.Atomic = plugin.Atomic{Remote: s.Remote, Change: s.change}
	return s
}

type store struct {
	*plugin.Remote
	plugin.Atomic
	consul *api.Client // set by open
	idle   func()      // closes idle connections
}

func (s *store) String() string { return "consul" }

func (s *store) open() (err error) {
	s.consul, s.idle, err = consulagents.NewClient(s.Options.Servers, s.Options.TLS, string(option.From[token](s.Options.Context)))
	if err != nil {
		return fmt.Errorf("kv: %w: option Servers, TLS or the environment: %w", kv.ErrInvalid, err)
	}
	return nil
}

func failed(err error) error {
	if consulagents.Forbidden(err) {
		return fmt.Errorf("%w: %w", kv.ErrForbidden, err)
	}
	var e api.StatusError
	if errors.As(err, &e) && e.Code < 500 && e.Code != 429 {
		return err
	}
	return nil
}

// Key returns the path of a key, which no key leads out of.
func (s *store) Key(key string) string {
	return "kv/" + escape(s.Options.Namespace) + "/" + escape(key)
}

func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// parse returns ErrNotFound for no pair and for what has expired.
func parse(key string, p *api.KVPair, now time.Time) (*kv.Item, error) {
	if p == nil {
		return nil, kv.ErrNotFound
	}
	if p.Flags != stamp.Mark {
		return &kv.Item{Key: key, Value: p.Value}, nil
	}
	value, left, alive := stamp.Cut(p.Value, now)
	if !alive {
		return nil, kv.ErrNotFound
	}
	return &kv.Item{Key: key, Value: value, Expiration: left}, nil
}

func query(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

func (s *store) Get(key string, opts ...kv.CallOption) (item *kv.Item, _ error) {
	err := s.Do("get", key, opts, kv.CheckKey(key), func(ctx context.Context) error {
		pair, _, err := s.consul.KV().Get(s.Key(key), query(ctx))
		if err != nil {
			return err
		}
		item, err = parse(key, pair, time.Now())
		if errors.Is(err, kv.ErrNotFound) && pair != nil && pair.Session == "" {
			_, _, _ = s.consul.KV().DeleteCAS(pair, (&api.WriteOptions{}).WithContext(ctx)) // the next reader does
		}
		return err
	})
	return item, err
}

const maxOps = 64 // of a transaction, in Consul

// GetMany reads 64 keys in a round trip, in two if some are not there.
func (s *store) GetMany(keys []string, opts ...kv.CallOption) (map[string]*kv.Item, error) {
	items := make(map[string]*kv.Item, len(keys))
	err := s.Do("get many", "", opts, kv.CheckKeys(keys), func(ctx context.Context) error {
		for some := range slices.Chunk(keys, maxOps) {
			if err := s.readSome(ctx, some, items); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// readSome asks again without the keys that are not there, for which Consul
// refuses to tell about the others.
func (s *store) readSome(ctx context.Context, keys []string, items map[string]*kv.Item) error {
	paths := make(map[string]string, len(keys))
	for _, key := range keys {
		paths[s.Key(key)] = key
	}
	for len(paths) > 0 {
		var ops api.KVTxnOps
		for path := range paths {
			ops = append(ops, &api.KVTxnOp{Verb: api.KVGet, Key: path})
		}
		ok, rsp, _, err := s.consul.KV().Txn(ops, query(ctx))
		if err != nil {
			return err
		}
		if ok {
			for _, pair := range rsp.Results {
				if item, err := parse(paths[pair.Key], pair, time.Now()); err == nil {
					items[item.Key] = item
				}
			}
			return nil
		}
		missing := len(paths)
		for _, e := range rsp.Errors {
			delete(paths, ops[e.OpIndex].Key)
		}
		if len(paths) == missing {
			return errors.New("transaction failed without a reason")
		}
	}
	return nil
}

// session returns one that ends after the item, "" for an item that lives longer
// than any.
func (s *store) session(ctx context.Context, ttl time.Duration) (string, error) {
	if ttl == 0 || ttl > 24*time.Hour {
		return "", nil
	}
	id, _, err := s.consul.Session().CreateNoChecks(&api.SessionEntry{
		Name: "go-platform kv", TTL: max(ttl, 10*time.Second).String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond,
	}, (&api.WriteOptions{}).WithContext(ctx))
	return id, err
}

func (s *store) end(ctx context.Context, session string) {
	if session != "" {
		_, _ = s.consul.Session().Destroy(session, (&api.WriteOptions{}).WithContext(ctx)) // it ends by itself, too
	}
}

// put returns what puts the item, whose expiration counts from now.
func (s *store) put(ctx context.Context, item *kv.Item, now time.Time) (*api.KVTxnOp, error) {
	op := &api.KVTxnOp{Verb: api.KVSet, Key: s.Key(item.Key), Value: item.Value}
	if item.Expiration == 0 {
		return op, nil
	}
	op.Value, op.Flags = stamp.Put(item.Value, now, item.Expiration), stamp.Mark
	session, err := s.session(ctx, item.Expiration)
	if session != "" {
		op.Verb, op.Session = api.KVLock, session
	}
	return op, err
}

// remove returns what removes the pair, nil for none, if it is the same by the
// verb, else refuses. Removed it must be, or the session that locked it could end
// its successor.
func remove(path string, pair *api.KVPair, same api.KVOp) api.KVTxnOps {
	if pair == nil {
		return api.KVTxnOps{{Verb: api.KVCheckNotExists, Key: path}}
	}
	return api.KVTxnOps{{Verb: same, Key: path, Index: pair.ModifyIndex}, {Verb: api.KVDelete, Key: path}}
}

// commit returns false if the first of ops, which is a condition, did not hold.
func (s *store) commit(ctx context.Context, ops api.KVTxnOps) (was api.KVPairs, done bool, _ error) {
	done, rsp, _, err := s.consul.KV().Txn(ops, query(ctx))
	switch {
	case err != nil:
		return nil, false, err
	case done:
		return rsp.Results, true, nil
	}
	for _, e := range rsp.Errors {
		if e.OpIndex > 0 {
			return nil, false, fmt.Errorf("transaction: %s", e.What)
		}
	}
	return nil, false, nil
}

// replace puts next, or nothing for nil, in the place of the pair, whose session
// it ends. After an error nobody knows whether next was put, so that its session
// stays: they would go together.
func (s *store) replace(ctx context.Context, key string, pair *api.KVPair, same api.KVOp, next *kv.Item, now time.Time) (done bool, _ error) {
	ops, session := remove(s.Key(key), pair, same), ""
	if next != nil {
		put, err := s.put(ctx, next, now)
		if err != nil {
			return false, err
		}
		ops, session = append(ops, put), put.Session
	}
	was, done, err := s.commit(ctx, ops)
	switch {
	case err != nil:
	case !done:
		s.end(ctx, session)
	case pair != nil:
		s.end(ctx, was[0].Session)
	}
	return done, err
}

// swap replaces what is there, nil for none, by what f makes of it, nil to remove
// it, and begins again if it is not the same any more by the verb.
func (s *store) swap(ctx context.Context, key string, same api.KVOp, f func(old *kv.Item) (*kv.Item, error)) error {
	for {
		pair, _, err := s.consul.KV().Get(s.Key(key), query(ctx))
		if err != nil {
			return err
		}
		now := time.Now()
		old, _ := parse(key, pair, now) // nil is what f wants for none
		next, err := f(old)
		if err != nil || next == nil && pair == nil {
			return err
		}
		done, err := s.replace(ctx, key, pair, same, next, now)
		if done || err != nil {
			return err
		}
	}
}

// Put replaces whatever is there. It looks first what that is: its session ends.
func (s *store) Put(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	return s.Do("put", item.Key, opts, nil, func(ctx context.Context) error {
		return s.swap(ctx, item.Key, api.KVGet, func(*kv.Item) (*kv.Item, error) { return item, nil })
	})
}

func (s *store) Del(key string, opts ...kv.CallOption) error {
	return s.Do("del", key, opts, kv.CheckKey(key), func(ctx context.Context) error {
		return s.swap(ctx, key, api.KVGet, func(*kv.Item) (*kv.Item, error) { return nil, nil })
	})
}

// change implements plugin.Change.
func (s *store) change(ctx context.Context, key string, f func(old *kv.Item) (*kv.Item, error)) error {
	return s.swap(ctx, key, api.KVCheckIndex, f)
}
