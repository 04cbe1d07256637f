package event

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/trace"
)

// Options are what the plugins of this package and of those below it share.
type Options struct {
	Client    client.Client
	TLS       *tls.Config
	Logger    *slog.Logger
	Trace     trace.Trace
	Origin    string
	Timeout   time.Duration
	QueueSize int
	Servers   []string
	// Context is for options of plugins that this package does not know.
	Context context.Context
}

// Option sets one of the Options.
type Option func(*Options)

// NewOptions returns the defaults changed by the options.
func NewOptions(opts ...Option) Options {
	o := Options{Timeout: 5 * time.Second, QueueSize: 10_000, Context: context.Background()}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate returns an ErrInvalid that names each option with a bad value.
func (o Options) Validate() error {
	c := option.Of("event")
	c.Positive("Timeout", o.Timeout)
	option.AtLeast(c, "QueueSize", o.QueueSize, 1)
	c.That(o.Origin == "" || clean.Name(o.Origin, MaxType), "Origin", "%.32q is not up to %d bytes of printable UTF-8", o.Origin, MaxType)
	for i, s := range o.Servers {
		c.That(s != "", "Servers", "address %d is empty", i)
	}
	return c.Err()
}

// Client sets the client whose registry leads to event-srv; the default is
// client.DefaultClient.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS sets the configuration that event-srv is reached with when the client is not
// a grpc client with settings of its own, and the servers of other plugins; the
// default is plain text.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where lost and regained connections and records that were lost
// are reported; the default is slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Trace sets what records publications and handlers as spans; the default is
// nothing. The ids travel in the metadata of the record.
func Trace(t trace.Trace) Option { return func(o *Options) { o.Trace = t } }

// Origin sets the Origin of records that have none, the name of the service
// commonly.
func Origin(name string) Option { return func(o *Options) { o.Origin = name } }

// Timeout sets the bound of a publication whose context has no deadline, and of
// each try of one that is queued; the default is 5 s.
func Timeout(d time.Duration) Option { return func(o *Options) { o.Timeout = d } }

// QueueSize sets how many records PublishAsync holds; the default is 10,000. Their
// data is bounded by 64 MB as well.
func QueueSize(n int) Option { return func(o *Options) { o.QueueSize = n } }

// Servers sets where plugins connect that do not ask the registry, any of which
// may be dead; for event/nats "host:port" or URLs.
func Servers(addresses ...string) Option { return func(o *Options) { o.Servers = addresses } }
