package rpctest

import (
	"os"
	"time"
)

// Long reports whether fault tests run at length, as in make faults.
func Long() bool { return os.Getenv("FAULTS") != "" }

// Phase is how long each part of a fault test lasts: short in make test.
func Phase() time.Duration {
	if Long() {
		return 20 * time.Second
	}
	return 2 * time.Second
}
