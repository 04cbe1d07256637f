package kv

import (
	"context"
	"crypto/tls"
	"log/slog"
	"regexp"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/option"
)

// Defaults of the options.
const (
	DefaultNamespace = "micro"
	DefaultReplicas  = 3
	DefaultMaxBytes  = 256 << 20
	DefaultTimeout   = 5 * time.Second
	DefaultSuspicion = 5 * time.Second
)

// Options are those of a plugin. Make them with NewOptions.
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
	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Option sets one of the Options.
type Option func(*Options)

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	o := Options{
		Namespace: DefaultNamespace, Replicas: DefaultReplicas, MaxBytes: DefaultMaxBytes,
		Timeout: DefaultTimeout, Suspicion: DefaultSuspicion, Context: context.Background(),
	}
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

var namespaces = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("kv")
	c.That(namespaces.MatchString(o.Namespace), "Namespace", "%q is not 1 to 64 of letters, digits, '.', '_' and '-'", o.Namespace)
	option.Within(c, "Replicas", o.Replicas, 1, 9)
	c.That(o.Read >= 0 && o.Read <= o.Replicas && o.Write >= 0 && o.Write <= o.Replicas, "Quorum",
		"%d and %d are not within 0 to the %d of Replicas", o.Read, o.Write, o.Replicas)
	c.That(o.MaxBytes > 0, "MaxBytes", "%d is not positive", o.MaxBytes)
	c.Positive("Timeout", o.Timeout)
	option.AtLeast(c, "Suspicion", o.Suspicion, 100*time.Millisecond)
	for _, s := range o.Servers {
		c.That(s != "", "Servers", "%q has an empty address", o.Servers)
	}
	return c.Err()
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
// client.DefaultClient. Its wrappers authenticate the calls. A grpc client is used
// as it is. Any other client gives its registry, broker and wrappers to a grpc
// client of the plugin's own: the wrappers that it was made with (client.Wrap,
// client.WrapCall) and those of this platform (auth, trace). Its other wrappers,
// selector, timeouts and TLS do not apply.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Server sets the server whose instances are the members, default
// server.DefaultServer. Its wrappers judge the calls of other members.
func Server(s server.Server) Option { return func(o *Options) { o.Server = s } }

// TLS sets how to connect to servers or members, default plain text.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where loss and recovery are reported, default slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

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
