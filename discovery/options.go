package discovery

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpc"
)

// Defaults and bounds of the options.
const (
	DefaultInterval = 30 * time.Second
	MinInterval     = 10 * time.Millisecond
	MaxInterval     = time.Hour
	// TTLIntervals is the length of a lease.
	TTLIntervals = 5

	maxSecret = 256 // bytes
)

// Option changes the Options of a Discovery that is being made.
type Option func(*Options)

// Options are what a Discovery is made of. The functions of the same names set
// them, and say what they are for.
type Options struct {
	Client          client.Client
	Wrappers        []client.Wrapper // set by Wrap, the first outermost
	Interval        time.Duration
	Registry        registry.Registry
	EnableDiscovery bool
	Addresses       []string
	SnapshotFile    string
	Secret          string
	TLS             *tls.Config
	Logger          *slog.Logger
	// Context is for options of plugins that this package does not know.
	Context context.Context
}

// NewOptions returns the defaults as opts change them. Plugins begin with it.
func NewOptions(opts ...Option) Options {
	o := Options{Interval: DefaultInterval, EnableDiscovery: true, Context: context.Background()}
	for _, opt := range opts {
		opt(&o)
	}
	if o.Registry == nil && len(o.Addresses) == 0 {
		o.Registry = registry.DefaultRegistry
	}
	if o.Secret == "" {
		o.Secret = rand.Text()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate returns an ErrInvalid that names each option that cannot be.
func (o Options) Validate() error {
	c := option.Of("discovery")
	option.Within(c, "Interval", o.Interval, MinInterval, MaxInterval)
	c.That(len(o.Secret) <= maxSecret, "Secret", "%d bytes are more than %d", len(o.Secret), maxSecret)
	c.That(len(o.Addresses) == 0 || o.Registry == nil, "Addresses", "%d beside the option Registry, which excludes them", len(o.Addresses))
	for _, a := range o.Addresses {
		c.That(rpc.IsAddress(a), "Addresses", "%q is not host:port", a)
	}
	return c.Err()
}

// Client sets what go.micro.srv.discovery is called with, default
// client.DefaultClient; standalone a client of the plugin's own.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Wrap adds a wrapper that the calls of go.micro.srv.discovery, and of nobody
// else, pass through: auth.ClientWrapper(a) gives them a token. Of several the
// first one is the outermost.
func Wrap(w client.Wrapper) Option { return func(o *Options) { o.Wrappers = append(o.Wrappers, w) } }

// Interval sets how often leases are renewed, at the latest, default 30 s, from
// 10 ms to one hour.
func Interval(d time.Duration) Option { return func(o *Options) { o.Interval = d } }

// Registry sets what to run on top of: nodes are registered there and found
// there. The default without Addresses is registry.DefaultRegistry.
func Registry(r registry.Registry) Option { return func(o *Options) { o.Registry = r } }

// EnableDiscovery sets whether go.micro.srv.discovery keeps leases beside the
// registry, so that a dead node is gone sooner than the registry's own lease
// ends, default true. Standalone it has no effect.
func EnableDiscovery(b bool) Option { return func(o *Options) { o.EnableDiscovery = b } }

// Addresses adds the "host:port" of discovery-srvs that are the registry
// themselves. One is used until it fails, then the next.
func Addresses(addresses ...string) Option {
	return func(o *Options) { o.Addresses = append(o.Addresses, addresses...) }
}

// SnapshotFile sets a file, of mode 0600, that keeps what is known, so that a
// process can start while everything else is dead. The default is none.
func SnapshotFile(path string) Option { return func(o *Options) { o.SnapshotFile = path } }

// Secret sets what proves to discovery-srv that this process may speak for its
// nodes, at most 256 bytes. The default is random: a process that returns under
// the same node id can take over its lease at once only with the same secret.
func Secret(s string) Option { return func(o *Options) { o.Secret = s } }

// TLS sets how discovery-srv is reached when no grpc client with settings of its
// own was given. The default is plain text.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets what is told of servers that cannot be reached and of recovery,
// default slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }
