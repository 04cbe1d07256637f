// Command router-srv runs go.micro.srv.router. See router-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/router/srv"
)

func main() { os.Exit(srv.Main()) }
