// The command runs three workers that elect a leader through etcd, see package
// workers.
//
//	etcd &
//	go run ./examples/sync/etcd
package main

import (
	"os"

	"github.com/micro/go-platform/examples/sync/workers"
	"github.com/micro/go-platform/sync/etcd"
)

func main() { os.Exit(workers.Main("etcd", "127.0.0.1:2379", etcd.NewSync)) }
