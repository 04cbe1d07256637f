package monitor

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/monitor/plugin"
)

// Defaults and bounds of the options.
const (
	DefaultInterval     = time.Minute
	DefaultDeadline     = 10 * time.Second // of a check, when its interval is not shorter
	DefaultMaxEndpoints = 256
	MinInterval         = 100 * time.Millisecond // of reports and of checks
	MaxInterval         = time.Hour
	MaxChecks           = 128
)

// Options are the options of the monitors of this package. Make them with
// NewOptions.
type Options struct {
	Interval     time.Duration
	Client       client.Client
	Server       server.Server
	TLS          *tls.Config
	Logger       *slog.Logger
	Reporter     plugin.Reporter // nil: go.micro.srv.monitor
	MaxEndpoints int
	Losses       []Loss
	// Context is for options of plugins that this package does not know.
	Context context.Context

	forgetAfter time.Duration // see nodes; shorter in tests
}

// Loss is a plugin whose drops are published.
type Loss struct {
	Name    string
	Dropper Dropper
}

// Option sets one of the Options.
type Option func(*Options)

// NewOptions returns the defaults with opts applied.
func NewOptions(opts ...Option) Options {
	o := Options{Interval: DefaultInterval, MaxEndpoints: DefaultMaxEndpoints, Context: context.Background(), forgetAfter: forgetAfter}
	option.Apply(&o, opts)
	if o.Server == nil {
		o.Server = server.DefaultServer
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// The bounds of the options, beside those above.
const (
	maxEndpoints = 512
	maxLosses    = 32
	maxLossName  = 64
)

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("monitor")
	option.Within(c, "Interval", o.Interval, MinInterval, MaxInterval)
	option.Within(c, "MaxEndpoints", o.MaxEndpoints, 1, maxEndpoints)
	c.That(len(o.Losses) <= maxLosses, "WatchLoss", "%d are more than %d", len(o.Losses), maxLosses)
	for _, l := range o.Losses {
		c.That(clean.Name(l.Name, maxLossName), "WatchLoss", "the name %.80q is not of 1 to %d printable characters", l.Name, maxLossName)
		c.That(l.Dropper != nil, "WatchLoss", "%.80q has no Dropper", l.Name)
	}
	return c.Err()
}

// Interval sets how often the monitor reports and, unless Every says otherwise,
// how often checks run, from 100 ms to one hour. The default is one minute.
// Three missed reports make the service UNKNOWN.
func Interval(d time.Duration) Option { return func(o *Options) { o.Interval = d } }

// Client sets the client that sends reports. The default is
// client.DefaultClient.
// Of a client that does not speak grpc its registry, broker and wrappers apply, and
// its selector, timeouts and TLS do not: see db.Client.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Server sets the server whose node the monitor speaks for. The default is
// server.DefaultServer.
func Server(s server.Server) Option { return func(o *Options) { o.Server = s } }

// TLS sets the TLS settings for go.micro.srv.monitor. The default is plain
// text. It has no effect when Client is a grpc client, which has settings of
// its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets the logger that hears of loss and recovery. The default, also
// with nil, is slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// WithReporter sends reports elsewhere than to go.micro.srv.monitor. The
// monitor then knows of no nodes that are not ready.
func WithReporter(r plugin.Reporter) Option { return func(o *Options) { o.Reporter = r } }

// MaxEndpoints bounds the endpoints that stats tell apart, from 1 to 512. The
// default is 256. Each costs about 25 KB while it is in use.
func MaxEndpoints(n int) Option { return func(o *Options) { o.MaxEndpoints = n } }

// WatchLoss publishes how much d dropped, as "dropped.NAME" in the service's
// status: for the trace, log and metrics plugins of the process, 32 of them at
// most.
func WatchLoss(name string, d Dropper) Option {
	return func(o *Options) { o.Losses = append(slices.Clip(o.Losses), Loss{name, d}) }
}
