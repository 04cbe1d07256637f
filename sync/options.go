package sync

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/option"
)

// Defaults and bounds.
const (
	DefaultLockTTL = 15 * time.Second
	MinLockTTL     = 10 * time.Millisecond // servers have coarser ones, see their packages
	MaxLockTTL     = 24 * time.Hour
	MaxId          = 512 // bytes
	MaxSlots       = 10000
)

// Options are those of a plugin. Make them with NewOptions.
type Options struct {
	Namespace string
	Nodes     []string
	Service   *registry.Service
	TLS       *tls.Config
	Logger    *slog.Logger
	Trace     Around
	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Around calls work once and returns its error.
type Around func(ctx context.Context, name string, work func(context.Context) error) error

// Option sets one of the Options.
type Option func(*Options)

// NewOptions returns the defaults with opts applied. It does not validate them.
// Logger and Trace are never nil; the Namespace begins with a slash and does not
// end with one.
func NewOptions(opts ...Option) Options {
	o := Options{Namespace: DefaultNamespace, Context: context.Background()}
	option.Apply(&o, opts)
	o.Namespace = "/" + strings.Trim(o.Namespace, "/")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Trace == nil {
		o.Trace = func(ctx context.Context, _ string, work func(context.Context) error) error { return work(ctx) }
	}
	return o
}

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("sync")
	if name := strings.TrimPrefix(o.Namespace, "/"); name != "" {
		fault := faultOf(name)
		c.That(fault == "", "Namespace", "%.100q %s", o.Namespace, fault)
	}
	for _, node := range o.Nodes {
		host, port, err := net.SplitHostPort(node)
		c.That(err == nil && host != "" && port != "" && !strings.Contains(host, "/"), "Nodes", "%.100q is not host:port", node)
	}
	return c.Err()
}

// Namespace sets the root of all keys, default DefaultNamespace. Contenders of one
// namespace exclude each other.
func Namespace(n string) Option { return func(o *Options) { o.Namespace = n } }

// Nodes sets the "host:port" addresses of the servers. When one fails the next is
// used. The default is the local server at its usual port.
func Nodes(n ...string) Option { return func(o *Options) { o.Nodes = n } }

// Service sets the candidate of elections: others see its first node. The default
// is a node with a random id and no address.
func Service(s *registry.Service) Option { return func(o *Options) { o.Service = s } }

// TLS sets how to connect to the servers, default plain text.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where outages that are waited out are reported, default
// slog.Default().
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

// LockTTL sets how long a lock outlives a holder that died or was cut off, within
// the bounds of the server, from MinLockTTL to MaxLockTTL. Default 15 s.
func LockTTL(d time.Duration) LockOption { return func(o *LockOptions) { o.TTL = d } }

// LockWait bounds how long Acquire waits. The default is 0: it is not bounded.
func LockWait(d time.Duration) LockOption { return func(o *LockOptions) { o.Wait = d } }

// Shared makes it the read side of a read-write lock: it shares with others
// that are Shared and excludes those that are not. A writer that waits comes
// before readers that asked later.
func Shared() LockOption { return func(o *LockOptions) { o.Shared = true } }

// Slots makes it a semaphore that n holders can have at a time. All contenders
// must give the same n, 1 to MaxSlots, else Acquire returns ErrConflict. Default 1.
func Slots(n int) LockOption { return func(o *LockOptions) { o.Slots = n } }

// LeaderOptions are those of one election.
type LeaderOptions struct {
	TTL  time.Duration
	Node *registry.Node
}

// LeaderOption changes an election that is being made.
type LeaderOption func(*LeaderOptions)

// LeaderTTL sets how long a seat outlives a leader that died or was cut off, with
// the bounds and the default of LockTTL.
func LeaderTTL(d time.Duration) LeaderOption { return func(o *LeaderOptions) { o.TTL = d } }

// LeaderNode sets the node that others see of this candidate, instead of the node
// of Service. At most 4 KiB as JSON.
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
