package metrics_test

import (
	"testing"

	"go.uber.org/goleak"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }
