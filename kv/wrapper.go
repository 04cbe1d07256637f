package kv

import (
	"context"

	"go-micro.dev/v6/server"
)

// HandlerWrapper gives handlers k in their context, see FromContext.
func HandlerWrapper(k KV) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			return next(NewContext(ctx, k), req, rsp)
		}
	}
}

// SubscriberWrapper gives subscribers k in their context, see FromContext.
func SubscriberWrapper(k KV) server.SubscriberWrapper {
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			return next(NewContext(ctx, k), msg)
		}
	}
}
