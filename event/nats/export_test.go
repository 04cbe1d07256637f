package nats

import (
	"context"
	"time"

	"github.com/micro/go-platform/event"
)

// Linger sets how long records wait for members that left.
func Linger(d time.Duration) event.Option {
	return func(o *event.Options) { o.Context = context.WithValue(o.Context, lingerKey{}, d) }
}
