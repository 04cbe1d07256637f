// Package otlp pushes metrics to OpenTelemetry collectors: OTLP over gRPC, by
// the OpenTelemetry SDK's periodic reader and exporter.
//
// The name of a metric is namespace.id. A histogram whose id ends in _us has
// microseconds: it is sent without the _us, in seconds, with the unit s. Ids, names
// and values of fields keep every character but invalid UTF-8, cut at 200, 64 and
// 128 bytes. Counters are sums that are monotonic until they are decremented;
// histograms have the bounds of the option Buckets. Both are cumulative, so that an
// export that fails loses nothing that the next one does not carry.
//
// The durations of the wrappers follow the semantic conventions of OpenTelemetry 1.43:
// rpc.client.call.duration and rpc.server.call.duration with rpc.system.name
// ("go-micro"), rpc.method ("Shop/Buy") and error.type ("timeout" or "_OTHER"),
// messaging.client.operation.duration and messaging.process.duration with
// messaging.system, messaging.operation.name and messaging.destination.name. They have
// no namespace, keep the fields service and those of WithFields, and lose status.
//
// The resource is the SDK's default: OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES apply.
package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/metrics"
)

// defaultCollector is where a local OpenTelemetry collector listens.
const defaultCollector = "127.0.0.1:4317"

// exportTimeout bounds one export.
const exportTimeout = 5 * time.Second

// Metrics is the plugin. The option Samples means nothing to it.
type Metrics struct {
	metrics.Plugin
	stopping  atomic.Bool
	provider  *sdk.MeterProvider          // from Start on
	exporters atomic.Pointer[[]*exporter] // likewise
}

// transport is what the options of this package set.
type transport struct {
	tls     *tls.Config
	headers map[string]string
}

// TLS sets how to connect to collectors, default plain text. It is an option of
// NewMetrics and of Init, as is Header.
func TLS(conf *tls.Config) metrics.Option {
	return with(func(t *transport) { t.tls = conf.Clone() })
}

// Header is sent with each export, for example a token. The default is none.
func Header(name, value string) metrics.Option {
	return with(func(t *transport) {
		t.headers = maps.Clone(t.headers)
		if t.headers == nil {
			t.headers = make(map[string]string)
		}
		t.headers[name] = value
	})
}

func with(set func(*transport)) metrics.Option {
	return func(o *metrics.Options) { o.Context = option.With(o.Context, set) }
}

// NewMetrics returns the plugin; String() is "otlp". Collectors are host:port
// of OTLP/gRPC receivers, default 127.0.0.1:4317; all receive everything.
func NewMetrics(opts ...metrics.Option) *Metrics {
	m := &Metrics{}
	m.Config = func(o metrics.Options) metrics.StoreConfig {
		return metrics.StoreConfig{Fields: o.Fields, MaxSeries: o.MaxSeries, Idle: o.IdleTimeout, Buckets: o.Buckets, Clean: clean}
	}
	m.Begin, m.End = m.begin, m.end
	m.Setup(opts...)
	return m
}

// String implements metrics.Metrics.
func (m *Metrics) String() string { return "otlp" }

// Dropped returns how many points Stop could not deliver, counted once per collector
// that misses them, plus how many updates came after Stop. Before Stop nothing is
// lost: each export carries totals.
func (m *Metrics) Dropped() uint64 { return m.Plugin.Dropped() + m.missing() }

func (m *Metrics) missing() (n uint64) {
	exporters := m.exporters.Load()
	if exporters == nil || !m.stopping.Load() {
		return 0
	}
	for _, e := range *exporters {
		n += e.missing.Load()
	}
	return n
}

func (m *Metrics) begin(o metrics.Options) error {
	if len(o.Collectors) == 0 {
		o.Collectors = []string{defaultCollector}
	}
	source := newSource(m.Store, o.Namespace)
	var opts []sdk.Option
	var exporters []*exporter
	for i, addr := range o.Collectors {
		inner, err := dial(o, addr)
		if err != nil {
			for _, e := range exporters {
				_ = e.Shutdown(context.Background()) // it has sent nothing, nor connected
			}
			return fmt.Errorf("metrics: collector %s: %w", addr, err)
		}
		e := &exporter{Exporter: inner, plugin: m, addr: addr, log: o.Logger, first: i == 0}
		exporters = append(exporters, e)
		opts = append(opts, sdk.WithReader(sdk.NewPeriodicReader(e,
			sdk.WithInterval(o.BatchInterval), sdk.WithTimeout(exportTimeout), sdk.WithProducer(source))))
	}
	m.exporters.Store(&exporters)
	m.provider = sdk.NewMeterProvider(opts...)
	return nil
}

// dial makes an exporter; it connects in the background. It does not retry: the
// next export carries the same totals and newer ones. An absent collector is
// looked for at least every five seconds, not every two minutes as is grpc's way.
func dial(o metrics.Options, addr string) (sdk.Exporter, error) {
	t := option.From[transport](o.Context)
	security := otlpmetricgrpc.WithInsecure()
	if t.tls != nil {
		security = otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(t.tls))
	}
	return otlpmetricgrpc.New(context.Background(), security,
		otlpmetricgrpc.WithEndpoint(addr),
		otlpmetricgrpc.WithHeaders(t.headers),
		otlpmetricgrpc.WithTimeout(exportTimeout),
		otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: false}),
		otlpmetricgrpc.WithDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: exportTimeout,
		})))
}

// end exports a last time.
func (m *Metrics) end() error {
	m.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	err := m.provider.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("metrics: stop: %w", err)
	}
	return errors.Join(lifecycle.Lost("metrics", int(m.missing()), "point", "a collector cannot be reached"), err)
}
