// Package e2e tests monitor-srv and trace-srv as processes that are killed and paused.
package e2e_test

import (
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }
