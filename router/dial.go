package router

import (
	"context"
	"net"
	"sync"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/lifecycle"
)

// How nodes that were unreachable are dialled, at most maxDials at a time.
const (
	dialInterval = 100 * time.Millisecond
	dialTimeout  = 500 * time.Millisecond
	maxDials     = 4
)

// dial finds out which unreachable nodes are back, so that no call has to.
func (p *platform) dial(ctx context.Context) {
	lifecycle.Every(ctx, dialInterval, func() {
		free := make(chan struct{}, maxDials)
		var dials sync.WaitGroup
		defer dials.Wait()
		for _, s := range *p.services.Load() {
			for _, n := range s.pool.Lost() {
				select {
				case free <- struct{}{}:
				case <-ctx.Done():
					return
				}
				dials.Go(func() {
					defer func() { <-free }()
					p.dialOne(ctx, s, n)
				})
			}
		}
	})
}

func (p *platform) dialOne(ctx context.Context, s *service, n *registry.Node) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	if c, err := d.DialContext(ctx, "tcp", n.Address); err == nil {
		_ = c.Close() // it has shown what it was for
		s.pool.Found(n.Id)
	}
}
