// Package memcached is kv on memcached servers.
//
// A key is on one of the Servers, chosen as gomemcache does (CRC-32 of the key
// modulo their number), so that its other users find the same. When a server
// dies its keys cannot be reached; nothing moves, and a restarted one is empty.
//
// Keys are "namespace:key" where memcached takes that, else "namespace#" and
// their SHA-256. Values carry 8 bytes more when they expire, since memcached
// counts in whole seconds: the server's expiration is rounded up, the exact end
// is checked here by the wall clock. Items with a flag of another writer are
// returned as they are.
package memcached

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/internal/stamp"
	"github.com/micro/go-platform/kv/plugin"
)

// NewKV returns a KV on the memcached servers at Servers, by default
// 127.0.0.1:11211. All users must name the same servers in the same order. SASL is
// not supported, since gomemcache does not speak it: memcached can authenticate
// this plugin by TLS with client certificates only.
func NewKV(opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	if len(o.Servers) == 0 {
		o.Servers = []string{"127.0.0.1:11211"}
	}
	s := &store{sessions: &sessions{servers: newServers(o.Servers), dial: (&net.Dialer{}).DialContext}}
	if o.TLS != nil {
		s.sessions.dial = (&tls.Dialer{Config: o.TLS}).DialContext
	}
	s.Remote = plugin.NewRemote(o, failed, nil, s.sessions.close)
	s.Atomic = plugin.Atomic{Remote: s.Remote, Change: s.change}
	return s
}

type store struct {
	*plugin.Remote
	plugin.Atomic
	sessions *sessions
}

func (s *store) String() string { return "memcached" }

func failed(err error) error {
	var network net.Error
	var dial *memcache.ConnectTimeoutError
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return kv.ErrNotFound
	case errors.As(err, &network) || errors.As(err, &dial) || errors.Is(err, context.DeadlineExceeded):
		return nil
	case errors.Is(err, memcache.ErrMalformedKey):
		return err
	}
	return nil
}

// Key makes keys safe: memcached ends one at a space and a command at a line.
func (s *store) Key(key string) string {
	whole := s.Remote.Key(key)
	if len(whole) <= 250 && !bytes.ContainsFunc([]byte(key), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return whole
	}
	sum := sha256.Sum256([]byte(key))
	return s.Options.Namespace + "#" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// month is where memcached begins to take an expiration for a date.
const month = 30 * 24 * 60 * 60

// seconds is the expiration that memcached gets, never earlier than d.
func seconds(d time.Duration) int32 {
	if d == 0 {
		return 0
	}
	whole := int64((d+time.Second-1)/time.Second) + 1 // its clock ticks at any time within the first
	if whole > month {
		// What ends after 2038 gets the last second that fits.
		return int32(min(time.Now().Unix()+whole, 1<<31-1))
	}
	return int32(whole)
}

// wire returns the item, whose expiration counts from now, as memcached gets it.
func (s *store) wire(item *kv.Item, now time.Time) *memcache.Item {
	m := &memcache.Item{Key: s.Key(item.Key), Value: item.Value, Expiration: seconds(item.Expiration)}
	if item.Expiration > 0 {
		m.Value, m.Flags = stamp.Put(item.Value, now, item.Expiration), stamp.Mark
	}
	return m
}

// parse returns ErrNotFound for what has expired.
func parse(key string, m *memcache.Item, now time.Time) (*kv.Item, error) {
	item := &kv.Item{Key: key, Value: m.Value}
	if m.Flags != stamp.Mark {
		return item, nil
	}
	var alive bool
	if item.Value, item.Expiration, alive = stamp.Cut(m.Value, now); !alive {
		return nil, kv.ErrNotFound
	}
	return item, nil
}

// do is Remote.Do with a client that keeps to the context.
func (s *store) do(doing, key string, opts []kv.CallOption, bad error, f func(c *memcache.Client) error) error {
	return s.Do(doing, key, opts, bad, func(ctx context.Context) error { return s.sessions.do(ctx, f) })
}

func (s *store) Get(key string, opts ...kv.CallOption) (item *kv.Item, _ error) {
	err := s.do("get", key, opts, kv.CheckKey(key), func(c *memcache.Client) error {
		m, err := c.Get(s.Key(key))
		if err == nil {
			item, err = parse(key, m, time.Now())
		}
		return err
	})
	return item, err
}

// GetMany asks each server once.
func (s *store) GetMany(keys []string, opts ...kv.CallOption) (map[string]*kv.Item, error) {
	items := make(map[string]*kv.Item, len(keys))
	err := s.do("get many", "", opts, kv.CheckKeys(keys), func(c *memcache.Client) error {
		ours := make(map[string]string, len(keys))
		for _, key := range keys {
			ours[s.Key(key)] = key
		}
		found, err := c.GetMulti(slices.Collect(maps.Keys(ours)))
		for wire, m := range found {
			if item, err := parse(ours[wire], m, time.Now()); err == nil {
				items[item.Key] = item
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (s *store) Put(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	return s.do("put", item.Key, opts, nil, func(c *memcache.Client) error { return c.Set(s.wire(item, time.Now())) })
}

func (s *store) Del(key string, opts ...kv.CallOption) error {
	return s.do("del", key, opts, kv.CheckKey(key), func(c *memcache.Client) error {
		err := c.Delete(s.Key(key))
		if errors.Is(err, memcache.ErrCacheMiss) {
			err = nil
		}
		return err
	})
}

// change implements plugin.Change. It does not use memcached's own incr, which knows
// no negative numbers, nor its touch, which leaves the stamp.
func (s *store) change(ctx context.Context, key string, f func(old *kv.Item) (*kv.Item, error)) error {
	return s.sessions.do(ctx, func(c *memcache.Client) error {
		for {
			err := s.changeOnce(c, key, f)
			if !errors.Is(err, errFaster) {
				return err
			}
		}
	})
}

var errFaster = errors.New("somebody else was faster")

func (s *store) changeOnce(c *memcache.Client, key string, f func(old *kv.Item) (*kv.Item, error)) error {
	m, err := c.Get(s.Key(key))
	missing := errors.Is(err, memcache.ErrCacheMiss)
	if err != nil && !missing {
		return err
	}
	var old *kv.Item
	now := time.Now()
	if !missing {
		old, _ = parse(key, m, now) // nil is what f wants for none
	}
	item, err := f(old)
	if err != nil {
		return err
	}
	next := s.wire(item, now)
	if missing {
		err = c.Add(next)
	} else {
		m.Value, m.Flags, m.Expiration = next.Value, next.Flags, next.Expiration
		err = c.CompareAndSwap(m)
	}
	if errors.Is(err, memcache.ErrNotStored) || errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrCacheMiss) {
		return errFaster
	}
	return err
}
