package kv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strconv"
	"time"

	"go-micro.dev/v5/client"
	"go-micro.dev/v5/server"

	"github.com/micro/go-platform/internal/lifecycle"
)

// Defaults of the options.
const (
	DefaultNamespace = "micro"
	DefaultReplicas  = 3
	DefaultMaxBytes  = 256 << 20
	DefaultTimeout   = 5 * time.Second
	DefaultSuspicion = 5 * time.Second
)

// Options are what the plugins share. Make them with NewOptions.
type Options struct {
	Servers   []string
	Namespace string
	Replicas  int
	Read      int // of Quorum, 0 is the majority of Replicas
	Write     int
	MaxBytes  int64
	Timeout   time.Duration
	Suspicion time.Duration
	Client    client.Client
	Server    server.Server
	TLS       *tls.Config
	Logger    *slog.Logger
}

// Option sets one of the Options.
type Option func(*Options)

// NewOptions is for plugins: it returns the defaults with opts applied.
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

// Servers sets the "host:port" addresses of the servers of a plugin that has
// some, by default one at its usual port here.
func Servers(addresses []string) Option { return func(o *Options) { o.Servers = addresses } }

// Namespace sets whose keys these are, default DefaultNamespace: 1 to 64 of
// letters, digits, '.', '_' and '-'. Keys of two namespaces never meet.
func Namespace(name string) Option { return func(o *Options) { o.Namespace = name } }

// Replicas sets on how many members the default plugin keeps each item, 1 to 9,
// default 3. All members must be given the same.
func Replicas(n int) Option { return func(o *Options) { o.Replicas = n } }

// Quorum sets how many of the Replicas must have answered a read and a write
// of the default plugin. The default is a majority for both: then each key is
// linearizable. A read of 1 is the fastest and may be stale. While there are
// fewer members than Replicas, both are at most their number.
func Quorum(read, write int) Option { return func(o *Options) { o.Read, o.Write = read, write } }

// MaxBytes bounds what one member, or the memory plugin, keeps: keys, values and
// 200 bytes for each. Beyond it what was not used for longest is evicted.
// Default 256 MiB.
func MaxBytes(n int64) Option { return func(o *Options) { o.MaxBytes = n } }

// Timeout bounds a call without a deadline of its own, default 5 s.
func Timeout(d time.Duration) Option { return func(o *Options) { o.Timeout = d } }

// Suspicion sets how long a member of the default plugin may be silent before
// it is removed and others take its keys over, at least 100 ms, default 5 s.
func Suspicion(d time.Duration) Option { return func(o *Options) { o.Suspicion = d } }

// Client sets the client through which members reach each other, default
// client.DefaultClient. Its wrappers authenticate the calls.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Server sets the server whose instances are the members, default
// server.DefaultServer. Its wrappers judge the calls of other members.
func Server(s server.Server) Option { return func(o *Options) { o.Server = s } }

// TLS sets how to connect to servers or members, default plain text.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where loss and recovery are reported, default slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Validate is for plugins: it returns an error that names every option with a
// bad value.
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

// CallOptions are those of one call.
type CallOptions struct {
	Context context.Context
	Token   uint64
}

// CallOption changes one call.
type CallOption func(*CallOptions)

// WithContext bounds the call.
func WithContext(ctx context.Context) CallOption {
	return func(o *CallOptions) { o.Context = ctx }
}

// Fence gives Put and Del the fencing token of the lock that the caller holds,
// see package sync. The memory and the default plugin remember the highest of
// each key for as long as they know the key and return ErrStale for lower ones;
// the others return ErrUnsupported.
func Fence(token uint64) CallOption { return func(o *CallOptions) { o.Token = token } }

// NewCallOptions is for plugins: it returns the options with a context that
// ends after timeout unless it has a deadline. The caller must call cancel.
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

// CheckKey is for plugins.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: key of %d bytes: want 1 to %d", ErrInvalid, len(key), MaxKey)
	}
	return nil
}

// CheckItem is for plugins.
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

// CheckExpiration is for plugins.
func CheckExpiration(d time.Duration) error {
	if d < 0 || d > MaxTTL {
		return fmt.Errorf("%w: expiration %v: want 0 to %v", ErrInvalid, d, MaxTTL)
	}
	return nil
}

// CheckKeys is for plugins.
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

// Milliseconds is for plugins: it rounds d up, so that no item becomes one
// that stays.
func Milliseconds(d time.Duration) int64 {
	return int64(math.Ceil(float64(d) / float64(time.Millisecond)))
}

// Add is for plugins: the sum of Incr, or the reason why there is none.
func Add(value int64, delta int64) (int64, error) {
	sum := value + delta
	if (sum > value) != (delta > 0) && delta != 0 {
		return 0, fmt.Errorf("%w: %d + %d is no int64", ErrInvalid, value, delta)
	}
	return sum, nil
}

// ParseNumber is for plugins: the number that Incr finds.
func ParseNumber(value []byte) (int64, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: the value is no number", ErrInvalid)
	}
	return n, nil
}
