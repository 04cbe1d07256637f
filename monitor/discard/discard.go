// Package discard is a monitor that reports to nobody. Its checks run and its
// probes answer, so that a program can do without a platform.
package discard

import (
	"context"

	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// NewMonitor returns a monitor without reports. A WithReporter among the
// options is overridden.
func NewMonitor(opts ...monitor.Option) monitor.Monitor {
	return monitor.NewMonitor(append(opts[:len(opts):len(opts)], monitor.WithReporter(nobody{}))...)
}

type nobody struct{}

// Report implements plugin.Reporter.
func (nobody) Report(context.Context, *pb.ReportRequest) error { return nil }

func (nobody) String() string { return "discard" }
