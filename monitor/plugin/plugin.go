// Package plugin is what authors of monitor's plugins need: where a monitor
// sends its reports, as they go over the wire. Users of monitor need none of it.
package plugin

import (
	"context"

	pb "github.com/micro/go-platform/monitor/proto"
)

// Reporter takes the reports of a monitor; give it to monitor.WithReporter. The
// recorder and discard plugins are reporters; the default sends to
// go.micro.srv.monitor.
type Reporter interface {
	// Report delivers r; an error means that it did not arrive and will come
	// again. It is called by one goroutine at a time. It must not change r.
	Report(ctx context.Context, r *pb.ReportRequest) error
	// String becomes the name of the monitor.
	String() string
}
