// Package redis is kv on Redis 6.2 or later: one server, a cluster, or servers
// watched by sentinels.
//
// Keys are "namespace:key". Expiration is Redis's own, in milliseconds, by the
// server's clock. The optional abilities are atomic on the server. A fail-over
// to a replica loses what had not been copied to it: Redis copies after it has
// answered.
package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/micro/go-platform/kv"
)

// Config is what only Redis has.
type Config struct {
	// Master is the name of the servers that the sentinels at Servers watch.
	Master string
	// Cluster says that Servers are nodes of a cluster even if there is one.
	Cluster            bool
	Username, Password string
	DB                 int // not in a cluster
}

// NewKV returns a KV on the server at Servers, by default 127.0.0.1:6379, or on
// the cluster when there are several.
func NewKV(opts ...kv.Option) kv.KV { return NewWith(Config{}, opts...) }

// NewWith returns a KV on the servers that c describes.
func NewWith(c Config, opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	if len(o.Servers) == 0 {
		o.Servers = []string{"127.0.0.1:6379"}
	}
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: o.Servers, MasterName: c.Master, IsClusterMode: c.Cluster,
		Username: c.Username, Password: c.Password, DB: c.DB, TLSConfig: o.TLS,
		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true,
	})
	return &store{kv.NewRemote(o, failed, func() error {
		if err := client.Close(); !errors.Is(err, redis.ErrClosed) {
			return err
		}
		return nil
	}), client}
}

type store struct {
	*kv.Remote
	client redis.UniversalClient
}

func (s *store) String() string { return "redis" }

func failed(err error) error {
	var refused redis.Error
	switch {
	case errors.Is(err, redis.Nil):
		return kv.ErrNotFound
	case errors.As(err, &refused):
		for _, away := range []string{"CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN", "TRYAGAIN"} {
			if strings.HasPrefix(err.Error(), away) {
				return nil
			}
		}
		return err
	}
	return nil
}

// ttl is what PX wants; 0 is for ever.
func ttl(d time.Duration) time.Duration {
	return time.Duration(kv.Milliseconds(d)) * time.Millisecond
}

// Get takes both in one round trip, and as one step, or the time left could be
// that of another value.
func (s *store) Get(key string, opts ...kv.CallOption) (item *kv.Item, _ error) {
	err := s.Do("get", key, opts, kv.CheckKey(key), func(ctx context.Context) error {
		var value *redis.StringCmd
		var left *redis.DurationCmd
		_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			value, left = p.Get(ctx, s.Key(key)), p.PTTL(ctx, s.Key(key))
			return nil
		})
		if err == nil {
			item, err = found(key, value, left)
		}
		return err
	})
	return item, err
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
	items := make(map[string]*kv.Item, len(keys))
	err := s.Do("get many", "", opts, kv.CheckKeys(keys), func(ctx context.Context) error {
		values, left := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				values[i], left[i] = p.Get(ctx, s.Key(key)), p.PTTL(ctx, s.Key(key))
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for i, key := range keys {
			item, err := found(key, values[i], left[i])
			if err == nil {
				items[key] = item
			} else if !errors.Is(err, redis.Nil) && !errors.Is(err, kv.ErrNotFound) {
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

func (s *store) Put(item *kv.Item, opts ...kv.CallOption) error {
	bad := kv.CheckItem(item)
	if bad != nil {
		return bad
	}
	return s.Do("put", item.Key, opts, nil, func(ctx context.Context) error {
		return s.client.Set(ctx, s.Key(item.Key), item.Value, ttl(item.Expiration)).Err()
	})
}

func (s *store) Del(key string, opts ...kv.CallOption) error {
	return s.Do("del", key, opts, kv.CheckKey(key), func(ctx context.Context) error {
		return s.client.Del(ctx, s.Key(key)).Err()
	})
}

func (s *store) Add(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	return s.Do("add", item.Key, opts, nil, func(ctx context.Context) error {
		added, err := s.client.SetNX(ctx, s.Key(item.Key), item.Value, ttl(item.Expiration)).Result()
		if err == nil && !added {
			return kv.ErrExists
		}
		return err
	})
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
	return s.Do("compare and swap", item.Key, opts, nil, func(ctx context.Context) error {
		done, err := redis.NewScript(swap).Run(ctx, s.client, []string{s.Key(item.Key)}, old, item.Value, ttl(item.Expiration).Milliseconds()).Int()
		if err == nil && done == 0 {
			return kv.ErrConflict
		}
		return err
	})
}

func (s *store) Incr(key string, delta int64, opts ...kv.CallOption) (sum int64, _ error) {
	err := s.Do("incr", key, opts, kv.CheckKey(key), func(ctx context.Context) error {
		var err error
		sum, err = s.client.IncrBy(ctx, s.Key(key), delta).Result()
		if err != nil && (strings.Contains(err.Error(), "not an integer") || strings.Contains(err.Error(), "overflow")) {
			return errors.Join(kv.ErrInvalid, err)
		}
		return err
	})
	return sum, err
}

func (s *store) Touch(key string, expiration time.Duration, opts ...kv.CallOption) error {
	bad := kv.CheckKey(key)
	if bad == nil {
		bad = kv.CheckExpiration(expiration)
	}
	return s.Do("touch", key, opts, bad, func(ctx context.Context) error {
		if expiration > 0 {
			there, err := s.client.PExpire(ctx, s.Key(key), ttl(expiration)).Result()
			if err == nil && !there {
				return kv.ErrNotFound
			}
			return err
		}
		// Persist is false for what stays already: ask.
		n, err := s.client.Persist(ctx, s.Key(key)).Result()
		if err != nil || n {
			return err
		}
		there, err := s.client.Exists(ctx, s.Key(key)).Result()
		if err == nil && there == 0 {
			return kv.ErrNotFound
		}
		return err
	})
}
