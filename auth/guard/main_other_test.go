//go:build !linux

package guard_test

import (
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }
