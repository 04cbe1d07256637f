// Command monitor-srv runs go.micro.srv.monitor. See monitor-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/monitor/srv"
)

func main() { os.Exit(srv.Main()) }
