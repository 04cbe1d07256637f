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

// Option sets one of the Options.
type Option func(*Options)

// Options are the options of a Discovery. The functions of the same names set
// and document them.
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

// NewOptions returns the defaults with opts applied. Plugins begin with it.
func NewOptions(opts ...Option) Options {
	o := Options{Interval: DefaultInterval, EnableDiscovery: true, Context: context.Background()}
	option.Apply(&o, opts)
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

// Validate returns an ErrInvalid that names each option with a bad value.
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

// Client sets the client that calls go.micro.srv.discovery. The default is
// client.DefaultClient; standalone it is a client of the plugin's own.
// Of a client that does not speak grpc its registry, broker and wrappers apply, and
// its selector, timeouts and TLS do not: see db.Client.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Wrap adds a wrapper around the calls of go.micro.srv.discovery, and no
// others: auth.ClientWrapper(a) gives them a token. Of several the first is the
// outermost.
func Wrap(w client.Wrapper) Option { return func(o *Options) { o.Wrappers = append(o.Wrappers, w) } }

// Interval sets the longest time between renewals of a lease, from 10 ms to one
// hour. The default is 30 s.
func Interval(d time.Duration) Option { return func(o *Options) { o.Interval = d } }

// Registry sets the registry to run on top of: nodes are registered and found
// there. The default is registry.DefaultRegistry, unless Addresses are given,
// which exclude a Registry.
func Registry(r registry.Registry) Option { return func(o *Options) { o.Registry = r } }

// EnableDiscovery sets whether go.micro.srv.discovery keeps leases beside the
// registry, so that a dead node is gone sooner than the registry's own lease
// ends. The default is true. Standalone it has no effect.
func EnableDiscovery(b bool) Option { return func(o *Options) { o.EnableDiscovery = b } }

// Addresses adds the "host:port" of discovery-srvs that are the registry
// themselves. One is used until it fails, then the next.
func Addresses(addresses ...string) Option {
	return func(o *Options) { o.Addresses = append(o.Addresses, addresses...) }
}

// SnapshotFile sets a file, of mode 0600, that keeps what is known, so that a
// process can start while everything else is dead. The default is none.
func SnapshotFile(path string) Option { return func(o *Options) { o.SnapshotFile = path } }

// Secret sets the secret by which discovery-srv knows that this process may
// speak for its nodes, at most 256 bytes. The default is random: a process that
// returns under the same node id can take over its lease at once only with the
// same secret.
func Secret(s string) Option { return func(o *Options) { o.Secret = s } }

// TLS sets the TLS settings for discovery-srv. The default is plain text. It
// has no effect when Client is a grpc client with settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets the logger that hears of servers that cannot be reached and of
// recovery. The default is slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }
