// This file holds what plugins are made of. Those who use one need none of it.
// What only plugins on a server need is in kv/plugin.

package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// NewOptions returns the defaults with opts applied, which Validate judges.
func NewOptions(opts ...Option) Options {
	o := Options{
		Namespace: DefaultNamespace, Replicas: DefaultReplicas, MaxBytes: DefaultMaxBytes,
		Timeout: DefaultTimeout, Suspicion: DefaultSuspicion, Logger: slog.Default(),
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Validate returns an error that names every option with a bad value.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("kv: %w: option "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(o.Namespace), "Namespace: %q", o.Namespace)
	check(o.Replicas >= 1 && o.Replicas <= 9, "Replicas: %d is not within 1..9", o.Replicas)
	check(o.Read >= 0 && o.Read <= o.Replicas && o.Write >= 0 && o.Write <= o.Replicas, "Quorum: %d, %d of %d", o.Read, o.Write, o.Replicas)
	check(o.MaxBytes > 0, "MaxBytes: %d is not positive", o.MaxBytes)
	check(o.Timeout > 0, "Timeout: %v is not positive", o.Timeout)
	check(o.Suspicion >= 100*time.Millisecond, "Suspicion: %v is less than 100ms", o.Suspicion)
	check(o.Logger != nil, "Logger: nil")
	for _, s := range o.Servers {
		check(s != "", "Servers: an empty address")
	}
	return errors.Join(errs...)
}

// NewCallOptions returns the options of a call with a context that ends after
// timeout unless it has a deadline. The caller must call cancel.
func NewCallOptions(timeout time.Duration, opts ...CallOption) (_ CallOptions, cancel context.CancelFunc) {
	o := CallOptions{Context: context.Background()}
	for _, opt := range opts {
		opt(&o)
	}
	if _, bounded := o.Context.Deadline(); bounded {
		return o, func() {}
	}
	o.Context, cancel = lifecycle.Bound(o.Context, timeout)
	return o, cancel
}

// CheckKey returns an ErrInvalid for a key that is not 1 to MaxKey bytes.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: key of %d bytes: want 1 to %d", ErrInvalid, len(key), MaxKey)
	}
	return nil
}

// CheckItem returns an ErrInvalid for an item that is nil, or whose key, value or
// expiration is out of bounds.
func CheckItem(item *Item) error {
	if item == nil {
		return fmt.Errorf("%w: item is nil", ErrInvalid)
	}
	if len(item.Value) > MaxValue {
		return fmt.Errorf("%w: value of %d bytes: want at most %d", ErrInvalid, len(item.Value), MaxValue)
	}
	if err := CheckExpiration(item.Expiration); err != nil {
		return err
	}
	return CheckKey(item.Key)
}

// CheckExpiration returns an ErrInvalid for one that is negative or above MaxTTL.
func CheckExpiration(d time.Duration) error {
	if d < 0 || d > MaxTTL {
		return fmt.Errorf("%w: expiration %v: want 0 to %v", ErrInvalid, d, MaxTTL)
	}
	return nil
}

// CheckKeys returns an ErrInvalid for more than MaxMany keys and for a bad one
// among them.
func CheckKeys(keys []string) error {
	if len(keys) > MaxMany {
		return fmt.Errorf("%w: %d keys: want at most %d", ErrInvalid, len(keys), MaxMany)
	}
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return err
		}
	}
	return nil
}

// Milliseconds returns d rounded up, so that no item becomes one that stays.
func Milliseconds(d time.Duration) int64 {
	return int64(math.Ceil(float64(d) / float64(time.Millisecond)))
}
