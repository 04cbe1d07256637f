package otlp

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// exporter makes the failures of the SDK's exporter visible where the rest of
// the platform's are: one log line per burst and a count of what was lost.
type exporter struct {
	sdk.Exporter
	plugin  *Metrics
	addr    string
	log     *slog.Logger
	first   bool // of several: the one that reports for all
	failing bool
	missing atomic.Uint64 // points of the last export, if it failed
}

// Export sends data. It returns nil also when that failed, because the SDK
// would write the error to its global handler; nobody else asks.
func (e *exporter) Export(ctx context.Context, data *metricdata.ResourceMetrics) error {
	err := e.Exporter.Export(ctx, data)
	if err != nil {
		e.missing.Store(points(data))
	} else {
		e.missing.Store(0)
	}
	if !e.plugin.stopping.Load() { // Stop says itself what it lost
		e.note(err)
	}
	if e.first {
		e.plugin.ReportOverflow(e.log)
	}
	return nil
}

func (e *exporter) note(err error) {
	switch {
	case err != nil && !e.failing:
		e.log.Warn("cannot export metrics, will retry", "collector", e.addr, "error", err)
	case err == nil && e.failing:
		e.log.Info("exporting metrics again", "collector", e.addr)
	}
	e.failing = err != nil
}

func points(data *metricdata.ResourceMetrics) uint64 {
	n := 0
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				n += len(d.DataPoints)
			case metricdata.Gauge[int64]:
				n += len(d.DataPoints)
			case metricdata.Histogram[float64]:
				n += len(d.DataPoints)
			}
		}
	}
	return uint64(n)
}
