package daemon

import (
	"context"
	"log/slog"

	"github.com/micro/go-platform/metrics"
)

// Work is what watches how calls and background work end.
type Work struct{ w *work }

// NewWork returns one with a log and metrics of the test's.
func NewWork(l *slog.Logger, m metrics.Metrics) Work { return Work{newWork(l, m)} }

// Note notes how a task ended.
func (w Work) Note(what string, err error) { w.w.note(what, err) }

// Scraped is called before each scrape.
func (w Work) Scraped() { w.w.forget() }

// Err is for readiness.
func (w Work) Err() error { return w.w.err(context.Background()) }
