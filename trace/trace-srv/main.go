// Command trace-srv runs go.micro.srv.trace. See trace-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	tracesrv "github.com/micro/go-platform/internal/srv/trace"
)

func main() { os.Exit(daemon.Main(tracesrv.Service())) }
