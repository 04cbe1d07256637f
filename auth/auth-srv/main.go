// Command auth-srv runs go.micro.srv.auth. See auth-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	authsrv "github.com/micro/go-platform/internal/srv/auth"
)

func main() { os.Exit(daemon.Main(authsrv.Service())) }
