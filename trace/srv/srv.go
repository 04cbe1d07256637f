// Package srv boots go.micro.srv.trace for the programs of this repository.
// Nothing here is promised to others: they run trace-srv.
package srv

import (
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/trace/internal/srv"
)

type bootable = daemon.Bootable

// Service is trace-srv before it is started.
type Service struct{ bootable }

// New returns trace-srv with the defaults of its flags.
func New() Service { return Service{srv.Service()} }

// Main runs trace-srv until SIGINT or SIGTERM and returns the exit code: 0
// after a clean stop, 1 after an error, 2 for wrong usage.
func Main() int { return daemon.Main(srv.Service()) }
