package rpc_test

import (
	"testing"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/rpc"
)

func TestHeldAcquiresAndReleasesOnce(t *testing.T) {
	var acquired, released int
	var held rpc.Held
	open := func() {
		held.Open(func() (client.Client, func()) {
			acquired++
			return client.NewClient(), func() { released++ }
		})
	}
	if c, ok := held.Get(); c != nil || ok {
		t.Errorf("before Open: %v, %v", c, ok)
	}
	open()
	open()
	if c, ok := held.Get(); c == nil || !ok || acquired != 1 || released != 0 {
		t.Errorf("opened: %v, %v, acquired %d times, released %d times", c, ok, acquired, released)
	}
	held.Close()
	held.Close()
	open()
	if c, ok := held.Get(); c == nil || ok || acquired != 1 || released != 1 {
		t.Errorf("closed: %v, %v, acquired %d times, released %d times", c, ok, acquired, released)
	}
}

func TestHeldOpensNothingAfterClose(t *testing.T) {
	var held rpc.Held
	held.Close()
	held.Open(func() (client.Client, func()) { t.Error("acquired"); return nil, nil })
	if c, ok := held.Get(); c != nil || ok {
		t.Errorf("got %v, %v", c, ok)
	}
}
