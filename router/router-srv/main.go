// Command router-srv runs go.micro.srv.router. See router-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	routersrv "github.com/micro/go-platform/internal/srv/router"
)

func main() { os.Exit(daemon.Main(routersrv.Service())) }
