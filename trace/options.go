package trace

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/option"
)

// Options are what the plugins of this package and of those below it share.
// Make them with NewOptions.
type Options struct {
	BatchSize      int
	BatchInterval  time.Duration
	CollectTimeout time.Duration
	QueueSize      int
	Collectors     []string
	Topic          string
	Service        *registry.Service
	Client         client.Client
	TLS            *tls.Config
	Logger         *slog.Logger

	SampleRatio  float64
	SampleRate   float64
	IgnoreParent bool
	TrustDebug   bool

	Formats Format // what wrappers write
	Legacy  Format // what NewHeader writes besides

	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Option sets one of the Options.
type Option func(*Options)

// MaxBatchSize is how many spans trace-srv takes in one request.
const MaxBatchSize = 1000

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	o := Options{
		BatchSize:      DefaultBatchSize,
		BatchInterval:  DefaultBatchInterval,
		CollectTimeout: 5 * time.Second,
		QueueSize:      10000,
		Topic:          TraceTopic,
		SampleRatio:    1,
		Formats:        W3C,
		Legacy:         XMicro,
		Context:        context.Background(),
	}
	option.Apply(&o, opts)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := option.Of("trace")
	option.Within(c, "BatchSize", o.BatchSize, 1, MaxBatchSize)
	c.Positive("BatchInterval", o.BatchInterval)
	c.Positive("CollectTimeout", o.CollectTimeout)
	option.AtLeast(c, "QueueSize", o.QueueSize, 1)
	c.That(o.Topic != "", "Topic", `"" is not the name of a topic`)
	option.Within(c, "SampleRatio", o.SampleRatio, 0, 1)
	option.Within(c, "SampleRate", o.SampleRate, 0, 1e9)
	c.That(o.Formats != 0 && o.Formats&^allFormats == 0, "Headers", "%d is not made of W3C, B3, B3Multi and XMicro", o.Formats)
	for _, address := range o.Collectors {
		c.That(address != "", "Collectors", `"" is not an address`)
	}
	return c.Err()
}

// BatchSize sets how many spans are sent at once, default DefaultBatchSize, from
// 1 to MaxBatchSize.
func BatchSize(n int) Option { return func(o *Options) { o.BatchSize = n } }

// BatchInterval sets how long a span waits for others, above 0, default
// DefaultBatchInterval.
func BatchInterval(d time.Duration) Option { return func(o *Options) { o.BatchInterval = d } }

// CollectTimeout bounds one attempt to send a batch, above 0, default 5 s. Of
// several collectors each gets an equal share of it.
func CollectTimeout(d time.Duration) Option { return func(o *Options) { o.CollectTimeout = d } }

// QueueSize sets how many spans wait in memory before further spans are dropped, at
// least 1, default 10,000.
func QueueSize(n int) Option { return func(o *Options) { o.QueueSize = n } }

// Collectors sets where spans go. For the default plugin they are "host:port" of
// trace-srv, which it otherwise finds at the registry; see the other plugins for
// theirs. Of several the collector that took the last batch gets the next batch, or
// another one when it cannot be reached.
func Collectors(addresses []string) Option { return func(o *Options) { o.Collectors = addresses } }

// Topic sets the topic that spans go to while trace-srv cannot be reached,
// default TraceTopic.
func Topic(name string) Option { return func(o *Options) { o.Topic = name } }

// Service sets the service that spans are recorded in, unless a wrapper was
// given another.
func Service(s *registry.Service) Option { return func(o *Options) { o.Service = s } }

// Client sets the client whose registry and broker lead to trace-srv, default
// client.DefaultClient.
// Of a client that does not speak grpc its registry, broker and wrappers apply, and
// its selector, timeouts and TLS do not: see db.Client.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS sets how to connect to trace-srv, or to the collectors of another plugin,
// default plain text. It does not apply to trace-srv when Client is a grpc client,
// which has settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where loss and recovery are reported; the default, also with nil, is
// slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// SampleRatio sets the share of new traces that are recorded, 0..1, default 1.
// Services with one ratio agree on every trace.
func SampleRatio(share float64) Option { return func(o *Options) { o.SampleRatio = share } }

// SampleRate bounds how many new traces are recorded per second, after
// SampleRatio, up to 1e9. The default 0 does not bound them.
func SampleRate(perSecond float64) Option { return func(o *Options) { o.SampleRate = perSecond } }

// SampleParent sets whether the caller's decision is taken over when it came
// with the headers, default true. With false, as befits a service that
// outsiders call, they are treated like new traces.
func SampleParent(follow bool) Option { return func(o *Options) { o.IgnoreParent = !follow } }

// TrustDebug sets whether a caller can force recording by the debug flag of
// its headers, default false: else everyone could.
func TrustDebug(trust bool) Option { return func(o *Options) { o.TrustDebug = trust } }

// Headers sets what the wrappers write, default W3C alone: each header costs
// every call. All formats are read, whatever is written.
func Headers(f ...Format) Option { return func(o *Options) { o.Formats = join(f) } }

// Legacy sets what NewHeader writes beside Headers, default XMicro.
func Legacy(f ...Format) Option { return func(o *Options) { o.Legacy = join(f) } }

func join(formats []Format) (all Format) {
	for _, f := range formats {
		all |= f
	}
	return all
}
