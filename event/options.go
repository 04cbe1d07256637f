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
	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Option sets one of the Options.
type Option func(*Options)

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	o := Options{Timeout: 5 * time.Second, QueueSize: 10_000, Context: context.Background()}
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate returns an ErrInvalid that names every option with a bad value.
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
// Of a client that does not speak grpc its registry, broker and wrappers apply, and
// its selector, timeouts and TLS do not: see db.Client.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS sets how to connect to event-srv, or to the servers of another plugin; the
// default is plain text. It does not apply to event-srv when Client is a grpc
// client, which has settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where lost and regained connections and records that were lost
// are reported; the default is slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Trace sets the trace that records publications and handlers as spans; the
// default is none. The ids travel in the metadata of the record.
func Trace(t trace.Trace) Option { return func(o *Options) { o.Trace = t } }

// Origin sets the Origin of records that have none, the name of the service
// commonly.
func Origin(name string) Option { return func(o *Options) { o.Origin = name } }

// Timeout bounds a publication whose context has no deadline, and each try of a
// queued record; the default is 5 s.
func Timeout(d time.Duration) Option { return func(o *Options) { o.Timeout = d } }

// QueueSize sets how many records PublishAsync holds; the default is 10,000. Their
// data is bounded by 64 MB as well.
func QueueSize(n int) Option { return func(o *Options) { o.QueueSize = n } }

// Servers sets the servers of plugins that do not ask the registry; any of them
// may be dead. For event/nats they are "host:port" or URLs.
func Servers(addresses ...string) Option { return func(o *Options) { o.Servers = addresses } }
