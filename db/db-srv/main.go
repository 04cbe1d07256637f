// Command db-srv runs go.micro.srv.db. See db-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	dbsrv "github.com/micro/go-platform/internal/srv/db"
)

func main() { os.Exit(daemon.Main(dbsrv.Service())) }
