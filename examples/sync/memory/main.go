// The command runs three workers that elect a leader within one process, with
// nothing installed, see package workers.
//
//	go run ./examples/sync/memory
package main

import (
	"os"

	"github.com/micro/go-platform/examples/sync/workers"
	"github.com/micro/go-platform/sync/memory"
)

func main() { os.Exit(workers.Main("memory", "", memory.NewServer().NewSync)) }
