package monitor

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
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

// Option changes a Monitor that is being made.
type Option func(*options)

type options struct {
	interval     time.Duration
	client       client.Client
	server       server.Server
	tls          *tls.Config
	logger       *slog.Logger
	reporter     plugin.Reporter
	maxEndpoints int
	losses       []lossSource
	forgetAfter  time.Duration // see nodes; shorter in tests
}

type lossSource struct {
	name    string
	dropper Dropper
}

// Interval is how often the monitor reports and, unless an option of theirs
// says otherwise, how often checks run. Default one minute, from 100 ms to one
// hour. Three missed reports make the service UNKNOWN.
func Interval(d time.Duration) Option { return func(o *options) { o.interval = d } }

// Client is what reports are sent with, client.DefaultClient unless given.
func Client(c client.Client) Option { return func(o *options) { o.client = c } }

// Server is the server whose node the monitor speaks for,
// server.DefaultServer unless given.
func Server(s server.Server) Option { return func(o *options) { o.server = s } }

// TLS is used to reach go.micro.srv.monitor when the client is not a grpc
// client with settings of its own.
func TLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// Logger is told of loss and recovery, slog.Default() unless given.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithReporter sends reports elsewhere than to go.micro.srv.monitor. The
// monitor then knows of no nodes that are not ready.
func WithReporter(r plugin.Reporter) Option { return func(o *options) { o.reporter = r } }

// MaxEndpoints bounds the endpoints that stats tell apart, 1 to 512, default
// 256; each costs about 25 KB while it is in use.
func MaxEndpoints(n int) Option { return func(o *options) { o.maxEndpoints = n } }

// WatchLoss publishes what d dropped, as "dropped.NAME" in the info of the
// service's status: for the trace, log and metrics plugins of the process.
func WatchLoss(name string, d Dropper) Option {
	return func(o *options) { o.losses = append(o.losses, lossSource{name, d}) }
}

func newOptions(opts []Option) options {
	o := options{interval: DefaultInterval, maxEndpoints: DefaultMaxEndpoints, forgetAfter: forgetAfter}
	for _, opt := range opts {
		opt(&o)
	}
	if o.server == nil {
		o.server = server.DefaultServer
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	return o
}

func (o *options) validate() error {
	if o.interval < MinInterval || o.interval > MaxInterval {
		return fmt.Errorf("monitor: option Interval: %w: %v is not within %v and %v", ErrInvalid, o.interval, MinInterval, MaxInterval)
	}
	if o.maxEndpoints < 1 || o.maxEndpoints > 512 {
		return fmt.Errorf("monitor: option MaxEndpoints: %w: %d is not within 1 and 512", ErrInvalid, o.maxEndpoints)
	}
	if len(o.losses) > 32 {
		return fmt.Errorf("monitor: option WatchLoss: %w: more than 32", ErrInvalid)
	}
	for _, l := range o.losses {
		if !clean.Name(l.name, 64) || l.dropper == nil {
			return fmt.Errorf("monitor: option WatchLoss: %w: name %.64q or a nil dropper", ErrInvalid, l.name)
		}
	}
	return nil
}
