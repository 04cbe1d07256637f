// Package srv boots go.micro.srv.event for the programs of this repository.
// Nothing here is promised to others: they run event-srv.
package srv

import (
	"github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
)

type bootable = daemon.Bootable

// Service is event-srv before it is started.
type Service struct{ bootable }

// New returns event-srv with the defaults of its flags.
func New() Service { return Service{srv.Service()} }

// Main runs event-srv until SIGINT or SIGTERM and returns the exit code: 0
// after a clean stop, 1 after an error, 2 for wrong usage.
func Main() int { return daemon.Main(srv.Service()) }
