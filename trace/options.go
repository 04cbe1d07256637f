package trace

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
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
}

// Option sets one of the Options.
type Option func(*Options)

// MaxBatchSize is how many spans trace-srv takes in one request.
const MaxBatchSize = 1000

// Validate returns an error that names every option with a bad value.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("trace: %w: option "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(o.BatchSize > 0 && o.BatchSize <= MaxBatchSize, "BatchSize: %d is not within 1..%d", o.BatchSize, MaxBatchSize)
	check(o.BatchInterval > 0, "BatchInterval: %v is not positive", o.BatchInterval)
	check(o.CollectTimeout > 0, "CollectTimeout: %v is not positive", o.CollectTimeout)
	check(o.QueueSize > 0, "QueueSize: %d is not positive", o.QueueSize)
	check(o.Topic != "", "Topic: empty")
	check(o.SampleRatio >= 0 && o.SampleRatio <= 1, "SampleRatio: %v is not within 0..1", o.SampleRatio)
	check(o.SampleRate >= 0 && o.SampleRate <= 1e9, "SampleRate: %v is not within 0..1e9", o.SampleRate)
	check(o.Formats != 0 && o.Formats&^allFormats == 0, "Headers: unknown format")
	for _, c := range o.Collectors {
		check(c != "", "Collectors: an empty address")
	}
	return errors.Join(errs...)
}

// BatchSize sets how many spans are sent at once, default DefaultBatchSize, at
// most MaxBatchSize.
func BatchSize(n int) Option { return func(o *Options) { o.BatchSize = n } }

// BatchInterval sets how long a span waits for others, default
// DefaultBatchInterval.
func BatchInterval(d time.Duration) Option { return func(o *Options) { o.BatchInterval = d } }

// CollectTimeout bounds one attempt to send a batch, default 5 s.
func CollectTimeout(d time.Duration) Option { return func(o *Options) { o.CollectTimeout = d } }

// QueueSize sets how many spans wait in memory before further ones are
// dropped, default 10,000.
func QueueSize(n int) Option { return func(o *Options) { o.QueueSize = n } }

// Collectors sets where spans go: "host:port" of trace-srv for the default
// plugin, which else finds it at the registry; see the other plugins for
// theirs.
func Collectors(addresses []string) Option { return func(o *Options) { o.Collectors = addresses } }

// Topic sets the topic that spans go to while trace-srv cannot be reached,
// default TraceTopic.
func Topic(name string) Option { return func(o *Options) { o.Topic = name } }

// Service sets the service that spans are recorded in, unless a wrapper was
// given another.
func Service(s *registry.Service) Option { return func(o *Options) { o.Service = s } }

// Client sets the client whose registry and broker lead to trace-srv, default
// client.DefaultClient.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS is used to reach trace-srv when the client is not a grpc client with
// settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where loss and recovery are reported, default slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// SampleRatio sets the share of new traces that are recorded, 0..1, default 1.
// Services with one ratio agree on every trace.
func SampleRatio(share float64) Option { return func(o *Options) { o.SampleRatio = share } }

// SampleRate bounds how many new traces are recorded per second, after
// SampleRatio. The default 0 is no bound.
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
