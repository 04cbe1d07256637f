// Package recorder is a monitor that keeps its reports in memory: for tests of
// programs that use a monitor, so that nobody needs to mock one.
package recorder

import (
	"context"
	"slices"
	"sync"

	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// Recorder is a monitor.Monitor that runs checks and measures like any other.
type Recorder struct {
	monitor.Monitor
	reports *reports
}

// NewMonitor returns a recorder. A WithReporter among the options is
// overridden.
func NewMonitor(opts ...monitor.Option) *Recorder {
	r := &reports{}
	return &Recorder{monitor.NewMonitor(append(opts[:len(opts):len(opts)], monitor.WithReporter(r))...), r}
}

// Reports returns what was reported so far, in order. What they point to is
// shared and must not be changed.
func (r *Recorder) Reports() []Report { return r.reports.all() }

// Statuses returns the transitions of the service so far.
func (r *Recorder) Statuses() (all []monitor.Status) {
	for _, report := range r.Reports() {
		all = append(all, report.Statuses...)
	}
	return all
}

// Endpoints returns the measured endpoints of all windows so far.
func (r *Recorder) Endpoints() (all []Endpoint) {
	for _, report := range r.Reports() {
		all = append(all, report.Endpoints...)
	}
	return all
}

// FailWith makes reports fail from now on, with nil succeed again.
func (r *Recorder) FailWith(err error) {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	r.reports.err = err
}

type reports struct {
	mu   sync.Mutex
	kept []Report
	err  error
}

// Report implements plugin.Reporter.
func (r *reports) Report(_ context.Context, report *pb.ReportRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.kept = append(r.kept, newReport(report))
	return nil
}

func (r *reports) String() string { return "recorder" }

func (r *reports) all() []Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}
