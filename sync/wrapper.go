package sync

import (
	"context"

	"go-micro.dev/v6/server"
)

// HandlerWrapper makes FromContext return s in handlers.
func HandlerWrapper(s Sync) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			return next(NewContext(ctx, s), req, rsp)
		}
	}
}

// SubscriberWrapper makes FromContext return s in subscribers.
func SubscriberWrapper(s Sync) server.SubscriberWrapper {
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			return next(NewContext(ctx, s), msg)
		}
	}
}
