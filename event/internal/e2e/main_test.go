// Package e2e tests records that no fault loses: event-srv killed, hung and out of room.
package e2e_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) {
	// The processes of tests are this binary.
	if spec := os.Getenv(subscriberEnv); spec != "" {
		if err := subscribe(spec); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err) // the exit code tells too
			os.Exit(1)
		}
		os.Exit(0)
	}
	rpctest.Main(m)
}
