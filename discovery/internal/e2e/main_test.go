// Package e2e tests leases of processes that are killed, hang, drain and are cut
// off, on discovery-srv and on etcd.
package e2e_test

import (
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }
