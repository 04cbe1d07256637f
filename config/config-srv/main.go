// Command config-srv runs go.micro.srv.config. See config-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/config/srv"
)

func main() { os.Exit(srv.Main()) }
