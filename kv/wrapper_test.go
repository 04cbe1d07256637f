package kv_test

import (
	"context"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/memory"
)

// Handlers of calls and streams and subscribers find the KV in their context,
// and all metadata that was there.
func TestWrappers(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net, k := rpctest.New(t), memory.NewKV()
		found := make(chan string, 10)
		look := func(ctx context.Context, what string) {
			got, ok := kv.FromContext(ctx)
			if value, _ := metadata.Get(ctx, "tenant"); !ok || got != k || value != "seven" {
				what += ": without"
			}
			found <- what
		}
		net.Serve(stack, "shop",
			server.WrapHandler(kv.HandlerWrapper(k)),
			server.WrapHandler(func(next server.HandlerFunc) server.HandlerFunc {
				return func(ctx context.Context, req server.Request, rsp any) error {
					look(ctx, req.Method())
					return next(ctx, req, rsp)
				}
			}),
			server.WrapSubscriber(kv.SubscriberWrapper(k)),
			server.WrapSubscriber(func(next server.SubscriberFunc) server.SubscriberFunc {
				return func(ctx context.Context, msg server.Message) error {
					look(ctx, msg.Topic())
					return next(ctx, msg)
				}
			}),
		)
		c := net.Client(stack)
		svc := echo.NewEchoService("shop", c)
		ctx := metadata.NewContext(context.Background(), metadata.Metadata{"tenant": "seven"})
		if _, err := svc.Call(ctx, &echo.Request{Text: "x"}); err != nil {
			t.Fatal(err)
		}
		if err := rpctest.Converse(ctx, svc, 2, &echo.Request{End: true}); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(ctx, client.NewMessage(rpctest.Topic, &echo.Event{Text: "x"}, client.WithMessageContentType("application/protobuf"))); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Echo.Call", "Echo.Stream", rpctest.Topic} {
			if got := <-found; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}
