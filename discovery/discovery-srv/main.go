// Command discovery-srv runs go.micro.srv.discovery. See discovery-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/discovery/srv"
)

func main() { os.Exit(srv.Main()) }
