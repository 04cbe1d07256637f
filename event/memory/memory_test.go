package memory_test

import (
	"testing"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/eventtest"
	"github.com/micro/go-platform/event/memory"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestMemory(t *testing.T) {
	n := eventtest.Sharing(func(testing.TB) func(...event.Option) event.Event { return memory.NewLog().NewEvent })
	eventtest.Run(t, n)
	eventtest.RunMixedTypes(t, n)
}

// Each NewEvent has a log of its own.
func TestNewEvent(t *testing.T) {
	e := memory.NewEvent()
	if err := e.Publish(t.Context(), &event.Record{}); err != nil {
		t.Error(err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
}
