package memory_test

import (
	"testing"

	"github.com/micro/go-platform/event/eventtest"
	"github.com/micro/go-platform/event/memory"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestMemory(t *testing.T) {
	eventtest.Run(t, func(*testing.T) eventtest.Open { return memory.NewLog().NewEvent })
}
