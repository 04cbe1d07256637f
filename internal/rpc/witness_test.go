package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// A call whose connection broke while it ran may have been done: it runs once.
func TestABrokenConnectionIsNotRetried(t *testing.T) {
	net := rpctest.New(t)
	e := net.Serve(rpctest.GRPC, "real")
	found, err := net.Registry.GetService("real")
	if err != nil {
		t.Fatal(err)
	}
	s := &registry.Service{Name: "go.micro.srv.x", Version: "test"}
	var links []*netcut.Proxy
	for _, id := range []string{"a", "b", "c"} {
		link := netcut.New(t, found[0].Nodes[0].Address)
		links = append(links, link)
		s.Nodes = append(s.Nodes, &registry.Node{Id: id, Address: link.Addr, Metadata: map[string]string{"protocol": "grpc"}})
	}
	if err := net.Registry.Register(s); err != nil {
		t.Fatal(err)
	}
	c, release := rpc.Acquire(net.Client(rpctest.RPC), nil)
	defer release()
	svc := echo.NewEchoService("go.micro.srv.x", c)
	for range 20 {
		if _, err := svc.Call(t.Context(), &echo.Request{}, rpc.Options(5*time.Second)...); err != nil {
			t.Fatal(err)
		}
	}
	var calls atomic.Int64
	e.Forward = func(context.Context) error {
		calls.Add(1)
		for _, link := range links {
			link.Lose(1)
		}
		return nil
	}
	_, err = svc.Call(t.Context(), &echo.Request{}, rpc.Options(5*time.Second)...)
	if err == nil || calls.Load() != 1 {
		t.Errorf("%v, executed %d times", err, calls.Load())
	}
}
