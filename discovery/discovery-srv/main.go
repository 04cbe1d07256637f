// Command discovery-srv runs go.micro.srv.discovery. See discovery-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	discoverysrv "github.com/micro/go-platform/internal/srv/discovery"
)

func main() { os.Exit(daemon.Main(discoverysrv.Service())) }
