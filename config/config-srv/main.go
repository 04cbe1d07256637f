// Command config-srv runs go.micro.srv.config. See config-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	configsrv "github.com/micro/go-platform/internal/srv/config"
)

func main() { os.Exit(daemon.Main(configsrv.Service())) }
