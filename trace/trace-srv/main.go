// Command trace-srv runs go.micro.srv.trace. See trace-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/trace/srv"
)

func main() { os.Exit(srv.Main()) }
