package plugin

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/micro/go-platform/kv"
)

// Change replaces the item as one step by what f makes of it, which gets nil
// when there is none and may be called again when somebody else was faster. An
// error of f changes nothing and is returned.
type Change func(ctx context.Context, key string, f func(old *kv.Item) (*kv.Item, error)) error

// Atomic is kv.Adder, kv.CAS, kv.Counter and kv.Toucher for plugins on a server
// that can replace an item if it is still as it was read. Embed it beside Remote.
type Atomic struct {
	Remote *Remote
	Change Change
}

func (a Atomic) do(doing, key string, opts []kv.CallOption, bad error, f func(old *kv.Item) (*kv.Item, error)) error {
	return a.Remote.Do(doing, key, opts, bad, func(ctx context.Context) error { return a.Change(ctx, key, f) })
}

// Add implements kv.Adder.
func (a Atomic) Add(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	return a.do("add", item.Key, opts, nil, func(old *kv.Item) (*kv.Item, error) {
		if old != nil {
			return nil, kv.ErrExists
		}
		return item, nil
	})
}

// CompareAndSwap implements kv.CAS.
func (a Atomic) CompareAndSwap(old []byte, item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	return a.do("compare and swap", item.Key, opts, nil, func(is *kv.Item) (*kv.Item, error) {
		switch {
		case is == nil:
			return nil, kv.ErrNotFound
		case !bytes.Equal(is.Value, old):
			return nil, kv.ErrConflict
		}
		return item, nil
	})
}

// Incr implements kv.Counter.
func (a Atomic) Incr(key string, delta int64, opts ...kv.CallOption) (sum int64, _ error) {
	err := a.do("incr", key, opts, kv.CheckKey(key), func(old *kv.Item) (_ *kv.Item, err error) {
		next := &kv.Item{Key: key}
		var value int64
		if old != nil {
			if value, err = ParseNumber(old.Value); err != nil {
				return nil, err
			}
			next.Expiration = old.Expiration
		}
		if sum, err = Add(value, delta); err != nil {
			return nil, err
		}
		next.Value = strconv.AppendInt(nil, sum, 10)
		return next, nil
	})
	return sum, err
}

// Touch implements kv.Toucher.
func (a Atomic) Touch(key string, expiration time.Duration, opts ...kv.CallOption) error {
	bad := kv.CheckKey(key)
	if bad == nil {
		bad = kv.CheckExpiration(expiration)
	}
	return a.do("touch", key, opts, bad, func(old *kv.Item) (*kv.Item, error) {
		if old == nil {
			return nil, kv.ErrNotFound
		}
		return &kv.Item{Key: key, Value: old.Value, Expiration: expiration}, nil
	})
}
