package event

import (
	"context"

	"go-micro.dev/v6/server"
)

// HandlerWrapper gives handlers e in their context, see FromContext.
func HandlerWrapper(e Event) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			return next(NewContext(ctx, e), req, rsp)
		}
	}
}

// SubscriberWrapper gives subscribers e in their context, see FromContext.
func SubscriberWrapper(e Event) server.SubscriberWrapper {
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			return next(NewContext(ctx, e), msg)
		}
	}
}
