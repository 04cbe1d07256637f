package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	shop "github.com/micro/go-platform/examples/platform/proto"
	"github.com/micro/go-platform/internal/call"
)

// customers buy at a steady rate, whatever the shop does.
type customers struct {
	node    *node
	gateway shop.GatewayService

	bought, refused, failed atomic.Int64
	full, reduced           atomic.Int64          // prices paid
	failure                 atomic.Pointer[error] // the first that nobody promised

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newCustomers(ctx context.Context, p *platform) (*customers, error) {
	n, err := newNode(ctx, p, "shop.customers", "v1", "customers-1")
	if err != nil {
		return nil, err
	}
	return &customers{node: n, gateway: shop.NewGatewayService(gatewayName, n.call())}, n.monitor.Start()
}

// knock waits until the doors are open: services that were just started have
// to hear the rules before they serve anybody.
func (c *customers) knock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for served := 0; served < 50; {
		if _, err := c.gateway.Buy(ctx, &shop.Item{Name: "nothing"}); err == nil || call.Code(err) == refused {
			served++
			continue
		} else if ctx.Err() != nil {
			return fmt.Errorf("the shop does not open: %w", err)
		}
		served = 0
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func (c *customers) start(rate int) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.wg.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				c.wg.Go(c.buy)
			}
		}
	})
}

func (c *customers) buy() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	receipt, err := c.gateway.Buy(ctx, &shop.Item{Name: "book"})
	switch {
	case err == nil:
		c.bought.Add(1)
		if receipt.Discount == 0 {
			c.full.Add(1)
		} else {
			c.reduced.Add(1)
		}
	case call.Code(err) == refused:
		c.refused.Add(1)
	default:
		c.failed.Add(1)
		c.failure.CompareAndSwap(nil, &err)
	}
}

// leave waits for the purchases in flight.
func (c *customers) leave() {
	if c.cancel != nil {
		c.cancel()
	}
	c.wg.Wait()
}

func (c *customers) stop() error {
	c.leave()
	return c.node.stop()
}
