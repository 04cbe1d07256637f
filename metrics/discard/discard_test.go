package discard_test

import (
	"testing"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/discard"
	"github.com/micro/go-platform/metrics/metricstest"
	"go.uber.org/goleak"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

func TestDiscard(t *testing.T) {
	metricstest.Run(t, func(_ testing.TB, opts ...metrics.Option) metrics.Metrics {
		return discard.NewMetrics(opts...)
	})
}
