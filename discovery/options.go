package discovery

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Defaults and bounds of the options.
const (
	DefaultInterval = 30 * time.Second
	MinInterval     = 10 * time.Millisecond
	MaxInterval     = time.Hour
	// TTLIntervals is the length of a lease.
	TTLIntervals = 5
)

// Option changes a Discovery that is being made.
type Option func(*options)

type options struct {
	client    client.Client
	wrappers  []client.Wrapper // the first outermost
	interval  time.Duration
	registry  registry.Registry
	enabled   bool
	addresses []string
	file      string
	secret    string
	tls       *tls.Config
	logger    *slog.Logger
}

// Client is what go.micro.srv.discovery is called with. On top of a registry
// client.DefaultClient is used unless given, standalone a client of its own.
func Client(c client.Client) Option { return func(o *options) { o.client = c } }

// Wrap has the calls of go.micro.srv.discovery, and of nobody else, pass through
// a wrapper: auth.ClientWrapper(a) gives them a token. Of several the
// first one is the outermost.
func Wrap(w client.Wrapper) Option { return func(o *options) { o.wrappers = append(o.wrappers, w) } }

// Interval is how often leases are renewed, at the latest. Default 30 s, from
// 10 ms to one hour.
func Interval(d time.Duration) Option { return func(o *options) { o.interval = d } }

// Registry is what to run on top of: nodes are registered there and found
// there. Without it and Addresses it is registry.DefaultRegistry.
func Registry(r registry.Registry) Option { return func(o *options) { o.registry = r } }

// EnableDiscovery tells whether go.micro.srv.discovery keeps leases beside the
// registry, so that a dead node is gone sooner than the registry's own lease
// ends. Default true; standalone it has no effect.
func EnableDiscovery(b bool) Option { return func(o *options) { o.enabled = b } }

// Addresses are the "host:port" of discovery-srvs that are the registry
// themselves. One is used until it fails, then the next.
func Addresses(addresses ...string) Option {
	return func(o *options) { o.addresses = append(o.addresses, addresses...) }
}

// SnapshotFile keeps what is known in a file of mode 0600, so that a process
// can start while everything else is dead.
func SnapshotFile(path string) Option { return func(o *options) { o.file = path } }

// Secret proves to discovery-srv that this process may speak for its nodes, at
// most 256 bytes. Random unless given: a process that returns under the same
// node id can take over its lease at once only with the same secret.
func Secret(s string) Option { return func(o *options) { o.secret = s } }

// TLS is used to reach discovery-srv when no grpc client with settings of its
// own was given.
func TLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// Logger is told of servers that cannot be reached and of recovery,
// slog.Default() unless given.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(opts []Option) options {
	o := options{interval: DefaultInterval, enabled: true}
	for _, opt := range opts {
		opt(&o)
	}
	if o.registry == nil && len(o.addresses) == 0 {
		o.registry = registry.DefaultRegistry
	}
	if o.secret == "" {
		o.secret = rand.Text()
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	return o
}

func (o *options) validate() error {
	if o.interval < MinInterval || o.interval > MaxInterval {
		return fmt.Errorf("discovery: option Interval: %w: %v is not within %v and %v", rpcerr.ErrInvalid, o.interval, MinInterval, MaxInterval)
	}
	if len(o.secret) > 256 {
		return fmt.Errorf("discovery: option Secret: %w: longer than 256 bytes", rpcerr.ErrInvalid)
	}
	if len(o.addresses) > 0 && o.registry != nil {
		return fmt.Errorf("discovery: options Registry and Addresses: %w: both were given", rpcerr.ErrInvalid)
	}
	for _, a := range o.addresses {
		if !rpc.IsAddress(a) {
			return fmt.Errorf("discovery: option Addresses: %w: %q is not host:port", rpcerr.ErrInvalid, a)
		}
	}
	return nil
}
