package rpctest_test

import (
	"context"
	"testing"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestEchoOnBothStacks(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		handler := net.Serve(stack, "echo")
		c := net.Client(stack)
		svc := echo.NewEchoService("echo", c)
		ctx := metadata.NewContext(context.Background(), metadata.Metadata{"x-test": "1"})

		rsp, err := svc.Call(ctx, &echo.Request{Text: "hi"})
		if err != nil || rsp.Text != "hi" {
			t.Fatalf("call: %v, %v", rsp, err)
		}
		if _, err := svc.Call(ctx, &echo.Request{Fail: 409}); call.Code(err) != 409 {
			t.Fatalf("failing call: %v", err)
		}
		if err := rpctest.Converse(ctx, svc, 3, &echo.Request{End: true}); err != nil {
			t.Fatalf("stream: %v", err)
		}
		if err := rpctest.Converse(ctx, svc, 1, &echo.Request{Fail: 500}); err == nil {
			t.Fatal("failing stream: no error")
		}
		if err := c.Publish(ctx, c.NewMessage(rpctest.Topic, &echo.Event{Text: "e"})); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "the event arrives", func() bool { return len(handler.Events()) == 1 })
	})
}
