// Router runs three nodes of a greeter, one of them ten times slower and one
// that fails half of its calls, and a caller with a router. Each second it tells
// which share every node got, and why.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/router
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/examples/router/stage"
	"github.com/micro/go-platform/router"
)

func main() { stage.Main("router", run) }

// Greeter answers after a while, or fails.
type Greeter struct {
	takes time.Duration
	fails float64
}

// Hello is called as Greeter.Hello.
func (g *Greeter) Hello(_ context.Context, req, rsp *stage.Name) error {
	if rand.Float64() < g.fails {
		return merrors.InternalServerError(stage.Service, "told to fail")
	}
	time.Sleep(g.takes)
	rsp.Name = "Hello " + req.Name
	return nil
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	s, err := stage.New(ctx, reg, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for zone, g := range map[string]*Greeter{
		"well": {takes: 2 * time.Millisecond}, "slow": {takes: 20 * time.Millisecond}, "failing": {takes: 2 * time.Millisecond, fails: 0.5},
	} {
		if _, err := s.Node("v1", map[string]string{"is": zone}, g); err != nil {
			return err
		}
	}
	// A greeting may be said twice, so it may be tried again.
	c, r, err := s.Caller(router.Idempotent("Greeter.Hello"))
	if err != nil {
		return err
	}
	return call(ctx, c, r, out)
}

// call greets all the time and tells each second where the calls went.
func call(ctx context.Context, c client.Client, r router.Router, out io.Writer) error {
	var calls, failed atomic.Int64
	var callers sync.WaitGroup
	defer callers.Wait()
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				var rsp stage.Name
				err := c.Call(ctx, stage.Request(c, "Greeter.Hello", "John"), &rsp)
				if ctx.Err() != nil {
					return
				}
				calls.Add(1)
				if err != nil {
					failed.Add(1)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-second.C:
			e, err := r.Explain(stage.Service)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(out, "%d calls, %d failed\n%s\n", calls.Swap(0), failed.Swap(0), e) // it is only shown
		}
	}
}
