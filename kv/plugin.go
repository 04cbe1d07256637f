// This file is for authors of plugins; users of kv need nothing of it. What only
// plugins on a server need is in kv/plugin.

package kv

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/option"
)

// NewCallOptions returns the options of a call with a context that ends after
// timeout unless it has a deadline. The caller must call cancel. A timeout that is
// not positive counts as DefaultTimeout.
func NewCallOptions(timeout time.Duration, opts ...CallOption) (_ CallOptions, cancel context.CancelFunc) {
	o := CallOptions{Context: context.Background()}
	option.Apply(&o, opts)
	if _, bounded := o.Context.Deadline(); bounded {
		return o, func() {}
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	o.Context, cancel = lifecycle.Bound(o.Context, timeout)
	return o, cancel
}

// failure is formatted only when its text is read: reads of keys that are not
// there are frequent.
type failure struct {
	doing, key string
	err        error
}

func (f *failure) Error() string {
	if f.key == "" {
		return "kv: " + f.doing + ": " + f.err.Error()
	}
	return fmt.Sprintf("kv: %s %.80q: %v", f.doing, f.key, f.err)
}

func (f *failure) Unwrap() error { return f.err }

// Failed wraps err in what failed, as in `kv: get "a": not found`. The key may be
// empty. It returns nil and the errors of a context unchanged.
func Failed(doing, key string, err error) error {
	if err == nil || err == context.Canceled || err == context.DeadlineExceeded { //nolint:errorlint // a wrapped one is not bare
		return err
	}
	return &failure{doing, key, err}
}

// CheckKey returns an ErrInvalid for a key that is not 1 to MaxKey bytes.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("kv: %w: a key of %s is not within 1 to %d", ErrInvalid, byteCount(len(key)), MaxKey)
	}
	return nil
}

func byteCount(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// CheckItem returns an ErrInvalid for an item that is nil, or whose key, value or
// expiration is out of bounds.
func CheckItem(item *Item) error {
	if item == nil {
		return fmt.Errorf("kv: %w: the item is nil", ErrInvalid)
	}
	if len(item.Value) > MaxValue {
		return fmt.Errorf("kv: %w: a value of %s is above %d", ErrInvalid, byteCount(len(item.Value)), MaxValue)
	}
	if err := CheckExpiration(item.Expiration); err != nil {
		return err
	}
	return CheckKey(item.Key)
}

// CheckExpiration returns an ErrInvalid for a d that is negative or above MaxTTL.
func CheckExpiration(d time.Duration) error {
	if d < 0 || d > MaxTTL {
		return fmt.Errorf("kv: %w: an expiration of %v is not within 0 to %v", ErrInvalid, d, MaxTTL)
	}
	return nil
}

// CheckKeys returns an ErrInvalid for more than MaxMany keys and for a bad one
// among them.
func CheckKeys(keys []string) error {
	if len(keys) > MaxMany {
		return fmt.Errorf("kv: %w: %d keys are above %d", ErrInvalid, len(keys), MaxMany)
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
