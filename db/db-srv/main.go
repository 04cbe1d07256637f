// Command db-srv runs go.micro.srv.db. See db-srv --help.
package main

import (
	"os"

	"github.com/micro/go-platform/db/srv"
)

func main() { os.Exit(srv.Main()) }
