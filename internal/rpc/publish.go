package rpc

import (
	"context"
	"errors"
	"fmt"

	"go-micro.dev/v6/client"
	"google.golang.org/protobuf/proto"
)

// ErrNoBroker is returned by Publish for a client that has none.
var ErrNoBroker = errors.New("the client has no broker")

// Publish publishes m by a user's client, best effort. A client without a
// broker is an ErrNoBroker. A client that panics, as go-micro's does without a
// broker, is an error too: Publish is called in the background, where a panic
// would end the process.
func Publish(ctx context.Context, c client.Client, topic string, m proto.Message) (err error) {
	if c == nil || c.Options().Broker == nil {
		return ErrNoBroker
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("publish on %s: the client panicked: %v", topic, p)
		}
	}()
	return c.Publish(ctx, c.NewMessage(topic, m, client.WithMessageContentType("application/protobuf")))
}
