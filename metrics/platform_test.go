package metrics_test

import (
	"testing"
	"time"

	"github.com/micro/go-platform/internal/statsd"
	"github.com/micro/go-platform/internal/statsd/statsdtest"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/metricstest"
)

func TestTelegraf(t *testing.T) {
	metricstest.Run(t, func(t *testing.T) metricstest.Harness {
		server := statsdtest.Listen(t, "127.0.0.1:0")
		return metricstest.Harness{
			New: func(_ *testing.T, opts ...metrics.Option) metrics.Metrics {
				own := []metrics.Option{metrics.Collectors([]string{server.Addr}), metrics.BatchInterval(20 * time.Millisecond)}
				return metrics.NewMetrics(append(own, opts...)...)
			},
			Read:     func(t *testing.T) map[string]metricstest.Point { return server.Points(t, statsd.Telegraf) },
			Unsigned: true,
		}
	})
}
