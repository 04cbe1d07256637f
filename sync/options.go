package sync

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"go-micro.dev/v5/registry"
)

// Defaults and bounds.
const (
	DefaultLockTTL = 15 * time.Second
	MinLockTTL     = 10 * time.Millisecond // servers have coarser ones, see their packages
	MaxLockTTL     = 24 * time.Hour
	MaxId          = 512 // bytes
	MaxSlots       = 10000
)

// Options are what a plugin is made of.
type Options struct {
	Namespace string
	Nodes     []string
	Service   *registry.Service
	TLS       *tls.Config
	Logger    *slog.Logger
	Trace     Around
}

// Around calls work once and returns its error.
type Around func(ctx context.Context, name string, work func(context.Context) error) error

// Option changes a plugin that is being made.
type Option func(*Options)

// NewOptions is for plugins: it returns the defaults changed by opts.
func NewOptions(opts ...Option) Options {
	o := Options{Namespace: DefaultNamespace, Logger: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	o.Namespace = "/" + strings.Trim(o.Namespace, "/")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Trace == nil {
		o.Trace = func(ctx context.Context, _ string, work func(context.Context) error) error { return work(ctx) }
	}
	return o
}

// CheckOptions is for plugins: it names the option that cannot be.
func CheckOptions(o Options) error {
	if name := strings.TrimPrefix(o.Namespace, "/"); name != "" {
		if err := CheckId(name); err != nil {
			return fmt.Errorf("Namespace: %w", err)
		}
	}
	for _, node := range o.Nodes {
		host, port, err := net.SplitHostPort(node)
		if err != nil || host == "" || port == "" || strings.Contains(host, "/") {
			return fmt.Errorf("%w: Nodes: %q: want host:port", ErrInvalid, node)
		}
	}
	return nil
}

// Namespace is the root of all keys, DefaultNamespace unless given: those who
// use the same one exclude each other.
func Namespace(n string) Option { return func(o *Options) { o.Namespace = n } }

// Nodes are the "host:port" addresses of the servers; when one fails the next
// is used. Default: the local agent at its usual port.
func Nodes(n ...string) Option { return func(o *Options) { o.Nodes = n } }

// Service is who stands for elections: others see its first node. Without one
// it is a node with a random id and no address.
func Service(s *registry.Service) Option { return func(o *Options) { o.Service = s } }

// TLS is used to reach the servers; plain text when it is nil.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger takes what nobody else would report, slog.Default() unless given.
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Trace has a called around each Acquire, Release, Elect, Resign and run of
// Every, with names such as "acquire orders/42". It opens a span when it is
//
//	func(ctx context.Context, name string, work func(context.Context) error) error {
//		return trace.Do(ctx, t, name, work)
//	}
//
// (sync does not import trace, which would bring grpc to whoever takes a lock).
func Trace(a Around) Option { return func(o *Options) { o.Trace = a } }

// LockOptions are those of one lock.
type LockOptions struct {
	TTL    time.Duration
	Wait   time.Duration
	Shared bool
	Slots  int
}

// LockOption changes a lock that is being made.
type LockOption func(*LockOptions)

// LockTTL is how long a lock outlives a holder that died or was cut off, within
// the bounds of the server. Default 15 s.
func LockTTL(d time.Duration) LockOption { return func(o *LockOptions) { o.TTL = d } }

// LockWait bounds how long Acquire waits. Default: it does not.
func LockWait(d time.Duration) LockOption { return func(o *LockOptions) { o.Wait = d } }

// Shared makes it the read side of a read-write lock: it shares with others
// that are Shared and excludes those that are not. A writer that waits comes
// before readers that asked later.
func Shared() LockOption { return func(o *LockOptions) { o.Shared = true } }

// Slots makes it a semaphore that n holders can have at a time. All contenders
// must give the same n, else Acquire returns ErrConflict. Default 1.
func Slots(n int) LockOption { return func(o *LockOptions) { o.Slots = n } }

// NewLockOptions is for plugins: it returns the defaults changed by opts, or an
// error that names the option which cannot be.
func NewLockOptions(id string, opts ...LockOption) (LockOptions, error) {
	o := LockOptions{TTL: DefaultLockTTL, Slots: 1}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.TTL < MinLockTTL || o.TTL > MaxLockTTL:
		return o, fmt.Errorf("%w: LockTTL %v: want %v to %v", ErrInvalid, o.TTL, MinLockTTL, MaxLockTTL)
	case o.Wait < 0:
		return o, fmt.Errorf("%w: LockWait %v: negative", ErrInvalid, o.Wait)
	case o.Slots < 1 || o.Slots > MaxSlots:
		return o, fmt.Errorf("%w: Slots %d: want 1 to %d", ErrInvalid, o.Slots, MaxSlots)
	case o.Shared && o.Slots > 1:
		return o, fmt.Errorf("%w: Shared and Slots exclude each other", ErrInvalid)
	}
	return o, CheckId(id)
}

// CheckId is for plugins: it tells why id cannot name a lock. Control
// characters, an empty path element and "." or ".." would leave the namespace
// or be another key to some server.
func CheckId(id string) error {
	if id == "" || len(id) > MaxId {
		return fmt.Errorf("%w: id of %d bytes: want 1 to %d", ErrInvalid, len(id), MaxId)
	}
	for element := range strings.SplitSeq(id, "/") {
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("%w: id %q: empty, . or .. between slashes", ErrInvalid, id)
		}
	}
	if strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return fmt.Errorf("%w: id %q: control characters or broken UTF-8", ErrInvalid, id)
	}
	return nil
}

// LeaderOptions are those of one election.
type LeaderOptions struct {
	TTL  time.Duration
	Node *registry.Node
}

// LeaderOption changes an election that is being made.
type LeaderOption func(*LeaderOptions)

// LeaderTTL is how long a seat outlives a leader that died, as LockTTL.
func LeaderTTL(d time.Duration) LeaderOption { return func(o *LeaderOptions) { o.TTL = d } }

// LeaderNode is what others see of this candidate, instead of the node of
// Service. At most 4 KB as JSON.
func LeaderNode(n *registry.Node) LeaderOption { return func(o *LeaderOptions) { o.Node = n } }

// CallOptions are those of one call.
type CallOptions struct {
	Context context.Context
}

// CallOption changes one call.
type CallOption func(*CallOptions)

// WithContext bounds the call. Default, and if it is nil: nothing does.
func WithContext(ctx context.Context) CallOption {
	return func(o *CallOptions) {
		if ctx != nil {
			o.Context = ctx
		}
	}
}

// NewCallOptions is for plugins.
func NewCallOptions(opts ...CallOption) CallOptions {
	o := CallOptions{Context: context.Background()}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
