// Package redis is kv on Redis 6.2 or later: one server, a cluster, or servers
// watched by sentinels.
//
// Keys are "namespace:key". Expiration is Redis's own, in milliseconds, by the
// server's clock. The optional abilities are atomic on the server. A fail-over
// to a replica loses what had not been copied to it: Redis copies after it has
// answered.
//
// A read that met a broken connection is sent again, a write only when the server
// cannot have done it: twice done, Incr would count twice, Add would meet its own
// item and a Put could undo what came after it.
package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/plugin"
)

type config struct {
	master         string
	cluster        bool
	user, password string
	db             int
}

func set(change func(*config)) kv.Option {
	return func(o *kv.Options) { o.Context = option.With(o.Context, change) }
}

// Master sets the name of the master that the sentinels at Servers watch. The
// default is none: Servers are not sentinels.
func Master(name string) kv.Option { return set(func(c *config) { c.master = name }) }

// Cluster sets that Servers are nodes of a cluster. The default is a cluster when
// there are several Servers, and a single server when there is one.
func Cluster() kv.Option { return set(func(c *config) { c.cluster = true }) }

// User sets the name and password of a user of Redis. The default is none. With an
// empty name the password is that of requirepass.
func User(name, password string) kv.Option {
	return set(func(c *config) { c.user, c.password = name, password })
}

// DB sets the number of the database, default 0. A cluster has only database 0:
// another is a bad option there.
func DB(n int) kv.Option { return set(func(c *config) { c.db = n }) }

// NewKV returns a KV on the server at Servers, by default 127.0.0.1:6379, or on
// the cluster when there are several. It takes the options Master, Cluster, User
// and DB.
func NewKV(opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	if len(o.Servers) == 0 {
		o.Servers = []string{"127.0.0.1:6379"}
	}
	s := &store{}
	s.Remote = plugin.NewRemote(o, failed, s.open, func() error { return s.client.Close() })
	return s
}

type store struct {
	*plugin.Remote
	client redis.UniversalClient // set by open
}

func (s *store) open() error {
	o, c := s.Options, option.From[config](s.Options.Context)
	if err := c.validate(o.Servers); err != nil {
		return err
	}
	s.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: o.Servers, MasterName: c.master, IsClusterMode: c.cluster,
		Username: c.user, Password: c.password, DB: c.db, TLSConfig: o.TLS,
		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true,
	})
	return nil
}

// validate returns a kv.ErrInvalid that names every option with a bad value.
func (c config) validate(servers []string) error {
	cluster := c.cluster || len(servers) > 1 && c.master == ""
	check := option.Of("kv")
	for _, a := range servers { // the client would log any other, with the password
		_, _, err := net.SplitHostPort(a)
		check.That(err == nil && !strings.Contains(a, "@"), "Servers", "%q is not host:port; a password is for the option User", a)
	}
	check.That(!c.cluster || c.master == "", "Cluster", "Servers are sentinels of the master %q", c.master)
	check.That(c.db >= 0, "DB", "%d is less than 0", c.db)
	check.That(!cluster || c.db <= 0, "DB", "%d: a cluster has only database 0", c.db)
	return check.Err()
}

func (s *store) String() string { return "redis" }

func failed(err error) error {
	var refused redis.Error
	switch {
	case errors.Is(err, redis.Nil):
		return kv.ErrNotFound
	case forbidden(err):
		return fmt.Errorf("%w: %w", kv.ErrForbidden, err)
	case errors.As(err, &refused) && !away(err):
		return err
	}
	return nil
}

func forbidden(err error) bool {
	return refusedWith(err, "NOAUTH", "WRONGPASS", "NOPERM")
}

// refusedWith reports whether err is an answer of the server that begins with one
// of the prefixes.
func refusedWith(err error, prefixes ...string) bool {
	var refused redis.Error
	return errors.As(err, &refused) && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(refused.Error(), p) })
}

// away reports whether a server refused because of the state that it is in: it has
// done nothing, and it or another may soon.
func away(err error) bool {
	return refusedWith(err, "CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK", "BUSY", "NOREPLICAS", "ERR max number of clients")
}

// unsent reports whether nobody can have got what was to be sent.
func unsent(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial"
}

// once is a command that go-redis does not repeat after an error: it follows
// MOVED and ASK, and that is all.
type once struct{ redis.Cmder }

func (once) NoRetry() bool { return true }

// write sends a command until a server has taken it.
func (s *store) write(ctx context.Context, args ...any) *redis.Cmd {
	wait := backoff.Backoff{Min: 8 * time.Millisecond, Max: 512 * time.Millisecond}
	for try := 1; ; try++ {
		cmd := redis.NewCmd(ctx, args...)
		err := s.client.Process(ctx, once{cmd})
		if try == maxTries || !away(err) && !unsent(err) || wait.Wait(ctx) != nil {
			return cmd
		}
	}
}

const maxTries = 4 // as go-redis does with a read

// script runs a text with one key. Redis knows what it has compiled by the text.
func (s *store) script(ctx context.Context, text, key string, args ...any) (int, error) {
	return s.write(ctx, append([]any{"eval", text, 1, s.Key(key)}, args...)...).Int()
}

// do is Remote.Do. go-redis keeps to deadlines, but does not see that a context is
// cancelled while it reads: then the call returns and leaves the read to a goroutine,
// which Stop ends. These are not more than the connections, since a call that waits
// for a connection does see its context.
func do[V any](s *store, doing, key string, opts []kv.CallOption, bad error, f func(ctx context.Context) (V, error)) (v V, err error) {
	type result struct {
		v   V
		err error
	}
	err = s.Do(doing, key, opts, bad, func(ctx context.Context) (err error) {
		if len(opts) == 0 { // nobody can cancel it
			v, err = f(ctx)
			return err
		}
		done := make(chan result, 1)
		go func() {
			v, err := f(ctx)
			done <- result{v, err}
		}()
		select {
		case r := <-done:
			v = r.v
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return v, err
}

// Get takes both in one round trip, and as one step, or the time left could be
// that of another value.
func (s *store) Get(key string, opts ...kv.CallOption) (*kv.Item, error) {
	return do(s, "get", key, opts, kv.CheckKey(key), func(ctx context.Context) (*kv.Item, error) {
		var value *redis.StringCmd
		var left *redis.DurationCmd
		_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			value, left = p.Get(ctx, s.Key(key)), p.PTTL(ctx, s.Key(key))
			return nil
		})
		if err != nil {
			return nil, err
		}
		return found(key, value, left)
	})
}

func found(key string, value *redis.StringCmd, left *redis.DurationCmd) (*kv.Item, error) {
	b, err := value.Bytes()
	if err != nil {
		return nil, err
	}
	item := &kv.Item{Key: key, Value: b, Expiration: left.Val()}
	switch {
	case left.Val() == -2: // it ended in between
		return nil, kv.ErrNotFound
	case left.Val() < 0:
		item.Expiration = 0
	case left.Val() == 0:
		item.Expiration = time.Millisecond // less than that
	}
	return item, nil
}

// GetMany is one pipeline, which a cluster's client splits by server.
func (s *store) GetMany(keys []string, opts ...kv.CallOption) (map[string]*kv.Item, error) {
	keys = slices.Clone(keys)
	return do(s, "get many", "", opts, kv.CheckKeys(keys), func(ctx context.Context) (map[string]*kv.Item, error) {
		values, left := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				values[i], left[i] = p.Get(ctx, s.Key(key)), p.PTTL(ctx, s.Key(key))
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		items := make(map[string]*kv.Item, len(keys))
		for i, key := range keys {
			item, err := found(key, values[i], left[i])
			if err == nil {
				items[key] = item
			} else if !errors.Is(err, redis.Nil) && !errors.Is(err, kv.ErrNotFound) {
				return nil, err
			}
		}
		return items, nil
	})
}

// set returns the command that puts the item, and keeps none of what is the
// caller's.
func (s *store) set(item *kv.Item) []any {
	args := []any{"set", s.Key(item.Key), bytes.Clone(item.Value)}
	if item.Expiration > 0 {
		args = append(args, "px", kv.Milliseconds(item.Expiration))
	}
	return args
}

type none struct{}

func (s *store) Put(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	set := s.set(item)
	_, err := do(s, "put", item.Key, opts, nil, func(ctx context.Context) (none, error) {
		return none{}, s.write(ctx, set...).Err()
	})
	return err
}

func (s *store) Del(key string, opts ...kv.CallOption) error {
	_, err := do(s, "del", key, opts, kv.CheckKey(key), func(ctx context.Context) (none, error) {
		return none{}, s.write(ctx, "del", s.Key(key)).Err()
	})
	return err
}

func (s *store) Add(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	set := append(s.set(item), "nx")
	_, err := do(s, "add", item.Key, opts, nil, func(ctx context.Context) (none, error) {
		err := s.write(ctx, set...).Err()
		if errors.Is(err, redis.Nil) {
			err = kv.ErrExists
		}
		return none{}, err
	})
	return err
}

// swap returns whether the value was the old one, nil when there is none.
const swap = `
local v = redis.call('GET', KEYS[1])
if not v then return false end
if v ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1`

func (s *store) CompareAndSwap(old []byte, item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	args := []any{bytes.Clone(old), bytes.Clone(item.Value), kv.Milliseconds(item.Expiration)}
	key := item.Key
	_, err := do(s, "compare and swap", key, opts, nil, func(ctx context.Context) (none, error) {
		done, err := s.script(ctx, swap, key, args...)
		if err == nil && done == 0 {
			err = kv.ErrConflict
		}
		return none{}, err
	})
	return err
}

func (s *store) Incr(key string, delta int64, opts ...kv.CallOption) (int64, error) {
	return do(s, "incr", key, opts, kv.CheckKey(key), func(ctx context.Context) (int64, error) {
		sum, err := s.write(ctx, "incrby", s.Key(key), delta).Int64()
		if err != nil && (strings.Contains(err.Error(), "not an integer") || strings.Contains(err.Error(), "overflow")) {
			err = errors.Join(kv.ErrInvalid, err)
		}
		return sum, err
	})
}

// touch returns whether there is the key. PERSIST does not say so: it returns 0
// for what stays already, too.
const touch = `
if ARGV[1] ~= '0' then return redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
redis.call('PERSIST', KEYS[1])
return redis.call('EXISTS', KEYS[1])`

func (s *store) Touch(key string, expiration time.Duration, opts ...kv.CallOption) error {
	bad := kv.CheckKey(key)
	if bad == nil {
		bad = kv.CheckExpiration(expiration)
	}
	_, err := do(s, "touch", key, opts, bad, func(ctx context.Context) (none, error) {
		there, err := s.script(ctx, touch, key, kv.Milliseconds(expiration))
		if err == nil && there == 0 {
			err = kv.ErrNotFound
		}
		return none{}, err
	})
	return err
}
