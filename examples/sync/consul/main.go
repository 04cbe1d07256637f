// The command runs three workers that elect a leader through Consul, see package
// workers.
//
//	consul agent -dev &
//	go run ./examples/sync/consul
package main

import (
	"os"

	"github.com/micro/go-platform/examples/sync/workers"
	"github.com/micro/go-platform/sync/consul"
)

func main() { os.Exit(workers.Main("Consul", "127.0.0.1:8500", consul.NewSync)) }
