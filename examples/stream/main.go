// Stream keeps thirty streams open over three nodes of a greeter, then one node
// drains: what is open goes on there, new streams go to the others. Then the
// node stops and its streams are opened again elsewhere.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/stream
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/examples/router/stage"
	"github.com/micro/go-platform/router"
)

func main() { stage.Main("stream", run) }

const streams = 30

// Greeter answers every message of a stream with the name of its node.
type Greeter struct{ node string }

// Chat is called as Greeter.Chat, a stream both ways.
func (g *Greeter) Chat(_ context.Context, stream server.Stream) error {
	for {
		var req stage.Name
		if err := stream.Recv(&req); err != nil {
			return err
		}
		if err := stream.Send(&stage.Name{Name: g.node}); err != nil {
			return err
		}
	}
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	s, err := stage.New(ctx, reg, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var stopOne func() error
	for _, name := range []string{"one", "two", "three"} {
		stop, err := s.Node("v1", map[string]string{"name": name}, &Greeter{name})
		if err != nil {
			return err
		}
		if name == "one" {
			stopOne = stop
		}
	}
	c, r, err := s.Caller(router.Strategy(router.LeastConnections))
	if err != nil {
		return err
	}
	chats := &chats{client: c, open: make([]client.Stream, streams)}
	defer chats.close()
	tell := func(what string) error {
		on, err := chats.speak(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		_, err = fmt.Fprintf(out, "%s: one has %d streams, two %d, three %d\n", what, on["one"], on["two"], on["three"])
		return err
	}
	if err := tell("opened"); err != nil {
		return err
	}
	if err := drain(ctx, reg, r, "one"); err != nil {
		return err
	}
	if err := tell("one drains"); err != nil {
		return err
	}
	if err := stopOne(); err != nil {
		return err
	}
	return tell("one stopped")
}

// drain marks a node as draining, as the discovery plugin does when its process
// is told to stop, and waits until the router knows.
func drain(ctx context.Context, reg registry.Registry, r router.Router, name string) error {
	services, err := reg.GetService(stage.Service)
	if err != nil {
		return err
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			if n.Metadata["name"] != name {
				continue
			}
			n.Metadata["status"] = "DRAINING"
			if err := reg.Register(&registry.Service{Name: s.Name, Version: s.Version, Nodes: []*registry.Node{n}}, registry.RegisterTTL(30*time.Second)); err != nil {
				return err
			}
		}
	}
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		e, err := r.Explain(stage.Service)
		if err != nil {
			return err
		}
		for _, n := range e.Nodes {
			if n.Node.Metadata["name"] == name && len(n.Reasons) > 0 {
				return nil
			}
		}
	}
	return ctx.Err()
}

// chats are streams that are opened again when they end.
type chats struct {
	client client.Client
	open   []client.Stream
}

// speak says something on every stream and returns how many of them are on
// which node.
func (c *chats) speak(ctx context.Context) (map[string]int, error) {
	on := make(map[string]int)
	for i := range c.open {
		node, err := c.say(i)
		for tries := 0; err != nil && tries < 5; tries++ {
			if c.open[i], err = c.client.Stream(ctx, stage.Request(c.client, "Greeter.Chat", "")); err == nil {
				node, err = c.say(i)
			}
		}
		if err != nil {
			return nil, err
		}
		on[node]++
	}
	return on, nil
}

var errClosed = errors.New("not open")

func (c *chats) say(i int) (string, error) {
	if c.open[i] == nil {
		return "", errClosed
	}
	if err := c.open[i].Send(&stage.Name{Name: "hello"}); err != nil {
		return "", err
	}
	var rsp stage.Name
	err := c.open[i].Recv(&rsp)
	return rsp.Name, err
}

func (c *chats) close() {
	for _, s := range c.open {
		if s != nil {
			_ = s.Close() // the example is over
		}
	}
}
