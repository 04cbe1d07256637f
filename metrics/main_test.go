package metrics_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/leak"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }
