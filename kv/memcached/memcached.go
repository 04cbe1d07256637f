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
	"net"
	"strconv"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/micro/go-platform/internal/stamp"
	"github.com/micro/go-platform/kv"
)

// NewKV returns a KV on the memcached servers at Servers, by default
// 127.0.0.1:11211. All users must name the same servers in the same order.
func NewKV(opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	if len(o.Servers) == 0 {
		o.Servers = []string{"127.0.0.1:11211"}
	}
	c := memcache.NewFromSelector(newServers(o.Servers))
	c.Timeout, c.MaxIdleConns = o.Timeout, 64
	if o.TLS != nil {
		c.DialContext = (&tls.Dialer{Config: o.TLS}).DialContext
	}
	return &store{kv.NewRemote(o, failed, c.Close), c}
}

type store struct {
	*kv.Remote
	client *memcache.Client
}

func (s *store) String() string { return "memcached" }

func failed(err error) error {
	var network net.Error
	var dial *memcache.ConnectTimeoutError
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return kv.ErrNotFound
	case errors.Is(err, memcache.ErrCASConflict):
		return kv.ErrConflict
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

func (s *store) wire(item *kv.Item) *memcache.Item {
	m := &memcache.Item{Key: s.Key(item.Key), Value: item.Value, Expiration: seconds(item.Expiration)}
	if item.Expiration > 0 {
		m.Value, m.Flags = stamp.Put(item.Value, item.Expiration), stamp.Mark
	}
	return m
}

// parse returns ErrNotFound for what has expired.
func parse(key string, m *memcache.Item) (*kv.Item, error) {
	item := &kv.Item{Key: key, Value: m.Value}
	if m.Flags != stamp.Mark {
		return item, nil
	}
	var alive bool
	if item.Value, item.Expiration, alive = stamp.Cut(m.Value); !alive {
		return nil, kv.ErrNotFound
	}
	return item, nil
}

// do is Remote.Do for a client that knows no contexts: the call goes on in the
// background when the context ends before the client's own timeout.
func do[V any](s *store, doing, key string, opts []kv.CallOption, bad error, f func() (V, error)) (v V, err error) {
	type result struct {
		v   V
		err error
	}
	err = s.Do(doing, key, opts, bad, func(ctx context.Context) error {
		done := make(chan result, 1)
		go func() {
			v, err := f()
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

func (s *store) Get(key string, opts ...kv.CallOption) (*kv.Item, error) {
	return do(s, "get", key, opts, kv.CheckKey(key), func() (*kv.Item, error) {
		m, err := s.client.Get(s.Key(key))
		if err != nil {
			return nil, err
		}
		return parse(key, m)
	})
}

// GetMany asks each server once.
func (s *store) GetMany(keys []string, opts ...kv.CallOption) (map[string]*kv.Item, error) {
	return do(s, "get many", "", opts, kv.CheckKeys(keys), func() (map[string]*kv.Item, error) {
		ours := make(map[string]string, len(keys))
		safe := make([]string, 0, len(keys))
		for _, key := range keys {
			if _, twice := ours[s.Key(key)]; !twice {
				safe = append(safe, s.Key(key))
				ours[s.Key(key)] = key
			}
		}
		found, err := s.client.GetMulti(safe)
		if err != nil {
			return nil, err
		}
		items := make(map[string]*kv.Item, len(found))
		for wire, m := range found {
			if item, err := parse(ours[wire], m); err == nil {
				items[item.Key] = item
			}
		}
		return items, nil
	})
}

type none struct{}

func (s *store) Put(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	m := s.wire(item)
	_, err := do(s, "put", item.Key, opts, nil, func() (none, error) { return none{}, s.client.Set(m) })
	return err
}

func (s *store) Del(key string, opts ...kv.CallOption) error {
	_, err := do(s, "del", key, opts, kv.CheckKey(key), func() (none, error) {
		err := s.client.Delete(s.Key(key))
		if errors.Is(err, memcache.ErrCacheMiss) {
			err = nil
		}
		return none{}, err
	})
	return err
}

// Add replaces what has expired here and not yet there.
func (s *store) Add(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	m := s.wire(item)
	_, err := do(s, "add", item.Key, opts, nil, func() (none, error) {
		for {
			err := s.client.Add(m)
			if !errors.Is(err, memcache.ErrNotStored) {
				return none{}, err
			}
			err = s.replace(m.Key, func(*kv.Item) (*memcache.Item, error) { return nil, kv.ErrExists }, m)
			if !errors.Is(err, memcache.ErrCacheMiss) {
				return none{}, err
			}
		}
	})
	return err
}

// replace changes an item as one step: f makes the next one of what is there, in
// the place of what has expired comes fresh, or ErrNotFound if that is nil.
func (s *store) replace(key string, f func(*kv.Item) (*memcache.Item, error), fresh *memcache.Item) error {
	for {
		m, err := s.client.Get(key)
		if err != nil {
			return err
		}
		item, err := parse("", m)
		next := fresh
		if err == nil {
			next, err = f(item)
		} else if fresh != nil {
			err = nil
		}
		if err != nil {
			return err
		}
		m.Value, m.Flags, m.Expiration = next.Value, next.Flags, next.Expiration
		err = s.client.CompareAndSwap(m)
		if !errors.Is(err, memcache.ErrCASConflict) && !errors.Is(err, memcache.ErrNotStored) {
			return err
		}
	}
}

func (s *store) CompareAndSwap(old []byte, item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	m := s.wire(item)
	_, err := do(s, "compare and swap", item.Key, opts, nil, func() (none, error) {
		return none{}, s.replace(m.Key, func(is *kv.Item) (*memcache.Item, error) {
			if !bytes.Equal(is.Value, old) {
				return nil, kv.ErrConflict
			}
			return m, nil
		}, nil)
	})
	return err
}

// Incr does not use memcached's own, which knows no negative numbers.
func (s *store) Incr(key string, delta int64, opts ...kv.CallOption) (int64, error) {
	return do(s, "incr", key, opts, kv.CheckKey(key), func() (sum int64, _ error) {
		first := s.wire(&kv.Item{Key: key, Value: strconv.AppendInt(nil, delta, 10)})
		for {
			sum = delta
			err := s.replace(first.Key, func(is *kv.Item) (*memcache.Item, error) {
				value, err := kv.ParseNumber(is.Value)
				if err == nil {
					sum, err = kv.Add(value, delta)
				}
				return s.wire(&kv.Item{Key: key, Value: strconv.AppendInt(nil, sum, 10), Expiration: is.Expiration}), err
			}, first)
			if !errors.Is(err, memcache.ErrCacheMiss) {
				return sum, err
			}
			if err := s.client.Add(first); !errors.Is(err, memcache.ErrNotStored) {
				return delta, err
			}
		}
	})
}

func (s *store) Touch(key string, expiration time.Duration, opts ...kv.CallOption) error {
	bad := kv.CheckKey(key)
	if bad == nil {
		bad = kv.CheckExpiration(expiration)
	}
	_, err := do(s, "touch", key, opts, bad, func() (none, error) {
		return none{}, s.replace(s.Key(key), func(is *kv.Item) (*memcache.Item, error) {
			return s.wire(&kv.Item{Key: key, Value: is.Value, Expiration: expiration}), nil
		}, nil)
	})
	return err
}
