package config

import (
	"context"

	"go-micro.dev/v6/server"
)

// HandlerWrapper lets unary and streaming handlers find c with FromContext.
func HandlerWrapper(c Config) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			return next(NewContext(ctx, c), req, rsp)
		}
	}
}

// SubscriberWrapper lets subscribers find c with FromContext.
func SubscriberWrapper(c Config) server.SubscriberWrapper {
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			return next(NewContext(ctx, c), msg)
		}
	}
}
