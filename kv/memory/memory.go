// Package memory is kv within one process: nothing outlives it.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/internal/lru"
	"github.com/micro/go-platform/kv/plugin"
)

// NewKV returns a KV with all optional abilities. It keeps MaxBytes at most and
// evicts what was not used for longest; a fencing token is forgotten with its
// key. Expired items are removed every kv.ReaperEvent.
func NewKV(opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	m := &memory{options: o, items: lru.New[*entry](max(o.MaxBytes, 1)), began: time.Now()}
	m.life = lifecycle.NewPlugin("kv", lifecycle.Hooks{
		Check: o.Validate,
		Open:  func(context.Context) error { return m.group.Start(m.reap) },
		Close: m.shut,
	})
	return m
}

// entry is immutable. One without a value only remembers a token.
type entry struct {
	value    []byte
	there    bool
	deadline time.Duration // since the start of the plugin, 0 for none
	token    uint64
}

// Size implements lru.Value.
func (e *entry) Size() int { return len(e.value) }

type life = lifecycle.Plugin

type memory struct {
	*life
	options kv.Options
	items   *lru.Cache[*entry]
	began   time.Time
	group   lifecycle.Group
}

func (m *memory) String() string { return "memory" }

func (m *memory) shut() error {
	err := m.group.Stop(lifecycle.FlushTimeout)
	m.items.Clear()
	return err
}

// Dropped returns how many items were evicted.
func (m *memory) Dropped() uint64 {
	_, _, evicted := m.items.Stats()
	return evicted
}

func (m *memory) reap(ctx context.Context) {
	lifecycle.Every(ctx, kv.ReaperEvent, func() {
		now := m.now()
		m.items.Range(func(_ string, e *entry) (drop, more bool) { return e.token == 0 && !e.alive(now), true })
	})
}

func (m *memory) now() time.Duration { return time.Since(m.began) }

func (e *entry) alive(now time.Duration) bool {
	return e.there && (e.deadline == 0 || now < e.deadline)
}

func (m *memory) deadline(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return m.now() + time.Duration(kv.Milliseconds(d))*time.Millisecond
}

func (e *entry) item(key string, now time.Duration) *kv.Item {
	item := &kv.Item{Key: key, Value: slices.Clone(e.value)}
	if e.deadline > 0 {
		item.Expiration = e.deadline - now
	}
	return item
}

// ready applies the options of a call. It returns bad, or why the call cannot be
// made.
func (m *memory) ready(opts []kv.CallOption, bad error) (kv.CallOptions, error) {
	o := kv.CallOptions{Context: context.Background()}
	option.Apply(&o, opts)
	if bad != nil {
		return o, bad
	}
	if err := o.Context.Err(); err != nil {
		return o, err
	}
	return o, m.Use(o.Context)
}

func (m *memory) Get(key string, opts ...kv.CallOption) (*kv.Item, error) {
	if _, err := m.ready(opts, kv.CheckKey(key)); err != nil {
		return nil, err
	}
	e, ok := m.items.Get(key)
	if now := m.now(); ok && e.alive(now) {
		return e.item(key, now), nil
	}
	return nil, kv.Failed("get", key, kv.ErrNotFound)
}

func (m *memory) GetMany(keys []string, opts ...kv.CallOption) (map[string]*kv.Item, error) {
	if _, err := m.ready(opts, kv.CheckKeys(keys)); err != nil {
		return nil, err
	}
	found, now := make(map[string]*kv.Item, len(keys)), m.now()
	for _, key := range keys {
		if e, ok := m.items.Get(key); ok && e.alive(now) {
			found[key] = e.item(key, now)
		}
	}
	return found, nil
}

// change replaces an entry by what f makes of the old one, which is nil when
// there is none that is alive. f returns nil to remove it; with an error
// nothing changes.
func (m *memory) change(doing, key string, token uint64, f func(old *entry) (*entry, error)) (err error) {
	now := m.now()
	m.items.Do(key, func(e *entry, ok bool) (*entry, bool) {
		var seen uint64
		old := e
		if ok {
			seen = e.token
		}
		if !ok || !e.alive(now) {
			old = nil
		}
		if token > 0 && token < seen {
			err = fmt.Errorf("%w: %d, have seen %d", kv.ErrStale, token, seen)
			return e, ok
		}
		var next *entry
		if next, err = f(old); err != nil {
			return e, ok
		}
		if next == nil {
			next = &entry{}
		}
		next.token = max(seen, token)
		return next, next.there || next.token > 0
	})
	return kv.Failed(doing, key, err)
}

func (m *memory) entry(item *kv.Item) *entry {
	return &entry{value: slices.Clone(item.Value), there: true, deadline: m.deadline(item.Expiration)}
}

func (m *memory) Put(item *kv.Item, opts ...kv.CallOption) error {
	o, err := m.ready(opts, kv.CheckItem(item))
	if err != nil {
		return err
	}
	return m.change("put", item.Key, o.Token, func(*entry) (*entry, error) { return m.entry(item), nil })
}

func (m *memory) Del(key string, opts ...kv.CallOption) error {
	o, err := m.ready(opts, kv.CheckKey(key))
	if err != nil {
		return err
	}
	return m.change("del", key, o.Token, func(*entry) (*entry, error) { return nil, nil })
}

func (m *memory) Add(item *kv.Item, opts ...kv.CallOption) error {
	o, err := m.ready(opts, kv.CheckItem(item))
	if err != nil {
		return err
	}
	return m.change("add", item.Key, o.Token, func(old *entry) (*entry, error) {
		if old != nil {
			return nil, kv.ErrExists
		}
		return m.entry(item), nil
	})
}

func (m *memory) CompareAndSwap(old []byte, item *kv.Item, opts ...kv.CallOption) error {
	o, err := m.ready(opts, kv.CheckItem(item))
	if err != nil {
		return err
	}
	return m.change("compare and swap", item.Key, o.Token, func(e *entry) (*entry, error) {
		switch {
		case e == nil:
			return nil, kv.ErrNotFound
		case !bytes.Equal(e.value, old):
			return nil, kv.ErrConflict
		}
		return m.entry(item), nil
	})
}

func (m *memory) Incr(key string, delta int64, opts ...kv.CallOption) (sum int64, _ error) {
	o, err := m.ready(opts, kv.CheckKey(key))
	if err != nil {
		return 0, err
	}
	err = m.change("incr", key, o.Token, func(e *entry) (*entry, error) {
		next := &entry{there: true}
		if e != nil {
			next.deadline = e.deadline
			if sum, err = plugin.ParseNumber(e.value); err != nil {
				return nil, err
			}
		}
		if sum, err = plugin.Add(sum, delta); err != nil {
			return nil, err
		}
		next.value = strconv.AppendInt(nil, sum, 10)
		return next, nil
	})
	return sum, err
}

func (m *memory) Touch(key string, expiration time.Duration, opts ...kv.CallOption) error {
	o, err := m.ready(opts, kv.CheckKey(key))
	if err == nil {
		err = kv.CheckExpiration(expiration)
	}
	if err != nil {
		return err
	}
	return m.change("touch", key, o.Token, func(e *entry) (*entry, error) {
		if e == nil {
			return nil, kv.ErrNotFound
		}
		return &entry{value: e.value, there: true, deadline: m.deadline(expiration)}, nil
	})
}
