// Command monitor-srv runs go.micro.srv.monitor. See monitor-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	monitorsrv "github.com/micro/go-platform/internal/srv/monitor"
)

func main() { os.Exit(daemon.Main(monitorsrv.Service())) }
