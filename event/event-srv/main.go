// Command event-srv runs go.micro.srv.event. See event-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/internal/daemon"
	eventsrv "github.com/micro/go-platform/internal/srv/event"
)

func main() { os.Exit(daemon.Main(eventsrv.Service())) }
