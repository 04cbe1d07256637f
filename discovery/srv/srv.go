// Package srv boots go.micro.srv.discovery for the programs of this repository.
// Nothing here is promised to others: they run discovery-srv.
package srv

import (
	"github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
)

type bootable = daemon.Bootable

// Service is discovery-srv before it is started.
type Service struct{ bootable }

// New returns discovery-srv with the defaults of its flags.
func New() Service { return Service{srv.Service()} }

// Main runs discovery-srv until SIGINT or SIGTERM and returns the exit code: 0
// after a clean stop, 1 after an error, 2 for wrong usage.
func Main() int { return daemon.Main(srv.Service()) }
