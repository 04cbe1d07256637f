// Command event-srv runs go.micro.srv.event. See event-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/event/srv"
)

func main() { os.Exit(srv.Main()) }
