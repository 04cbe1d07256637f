package kv

import (
	"bytes"
	"context"
	"strconv"
	"time"
)

// Change replaces the item as one step by what f makes of it, which gets nil
// when there is none and may be called again when somebody else was faster. An
// error of f changes nothing and is returned.
type Change func(ctx context.Context, key string, f func(old *Item) (*Item, error)) error

// Atomic is Adder, CAS, Counter and Toucher for plugins on a server that can
// replace an item if it is still as it was read. Embed it beside Remote.
type Atomic struct {
	Remote *Remote
	Change Change
}

func (a Atomic) do(doing, key string, opts []CallOption, bad error, f func(old *Item) (*Item, error)) error {
	return a.Remote.Do(doing, key, opts, bad, func(ctx context.Context) error { return a.Change(ctx, key, f) })
}

// Add implements Adder.
func (a Atomic) Add(item *Item, opts ...CallOption) error {
	if err := CheckItem(item); err != nil {
		return err
	}
	return a.do("add", item.Key, opts, nil, func(old *Item) (*Item, error) {
		if old != nil {
			return nil, ErrExists
		}
		return item, nil
	})
}

// CompareAndSwap implements CAS.
func (a Atomic) CompareAndSwap(old []byte, item *Item, opts ...CallOption) error {
	if err := CheckItem(item); err != nil {
		return err
	}
	return a.do("compare and swap", item.Key, opts, nil, func(is *Item) (*Item, error) {
		switch {
		case is == nil:
			return nil, ErrNotFound
		case !bytes.Equal(is.Value, old):
			return nil, ErrConflict
		}
		return item, nil
	})
}

// Incr implements Counter.
func (a Atomic) Incr(key string, delta int64, opts ...CallOption) (sum int64, _ error) {
	err := a.do("incr", key, opts, CheckKey(key), func(old *Item) (_ *Item, err error) {
		next := &Item{Key: key}
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

// Touch implements Toucher.
func (a Atomic) Touch(key string, expiration time.Duration, opts ...CallOption) error {
	bad := CheckKey(key)
	if bad == nil {
		bad = CheckExpiration(expiration)
	}
	return a.do("touch", key, opts, bad, func(old *Item) (*Item, error) {
		if old == nil {
			return nil, ErrNotFound
		}
		return &Item{Key: key, Value: old.Value, Expiration: expiration}, nil
	})
}
