package db

import (
	"context"

	"go-micro.dev/v6/server"
)

// HandlerWrapper makes FromContext return d in handlers. Calls made with it
// need WithContext to be part of the handler's trace and deadline.
func HandlerWrapper(d DB) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			return next(NewContext(ctx, d), req, rsp)
		}
	}
}

// SubscriberWrapper makes FromContext return d in subscribers.
func SubscriberWrapper(d DB) server.SubscriberWrapper {
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			return next(NewContext(ctx, d), msg)
		}
	}
}
