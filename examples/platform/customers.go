package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	shop "github.com/micro/go-platform/examples/platform/proto"
	"github.com/micro/go-platform/internal/call"
)

// mostInside is how many customers there are at a time: who finds a crowd does
// not come in, so that a slow machine sells less and not late.
const mostInside = 16

// patience is how long a customer waits for all calls of a visit.
const patience = 10 * time.Second

// customers buy at a steady rate, unless the shop is crowded.
type customers struct {
	node    *node
	gateway shop.GatewayService

	visits, inside          atomic.Int64
	bought, refused, failed atomic.Int64
	full, reduced           atomic.Int64          // prices paid
	failure                 atomic.Pointer[error] // the first that nobody promised
	sessions                sessions

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
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for served := 0; served < 50; {
		if _, err := c.shopping(ctx, "nobody", "nothing"); err == nil || call.Code(err) == refused {
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
				if c.inside.Add(1) > mostInside {
					c.inside.Add(-1)
					continue
				}
				c.wg.Go(func() {
					defer c.inside.Add(-1)
					c.visit()
				})
			}
		}
	})
}

// visit fills a cart with two things and buys them. Each call may go to another
// gateway.
func (c *customers) visit() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	visitor := fmt.Sprint("visitor-", c.visits.Add(1))
	receipt, err := c.shopping(ctx, visitor, "book", "pen of "+visitor)
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
	case errors.Is(err, errCart):
		c.sessions.wrong.Add(1)
	default:
		c.failed.Add(1)
		c.failure.CompareAndSwap(nil, &err)
	}
}

// errCart is when a gateway knows less of a cart than was acknowledged before.
var errCart = errors.New("the cart was lost")

func (c *customers) shopping(ctx context.Context, visitor string, items ...string) (*shop.Receipt, error) {
	id := ""
	for i, item := range items {
		c.sessions.try(id, session{visitor, items[:i+1]})
		cart, err := c.gateway.Fill(ctx, &shop.FillRequest{Session: id, Visitor: visitor, Item: item})
		if err != nil {
			return nil, lost(err)
		}
		if id = cart.Session; !slices.Equal(cart.Items, items[:i+1]) {
			return nil, fmt.Errorf("%w: %v", errCart, cart.Items)
		}
		c.sessions.acknowledge(id, session{visitor, items[:i+1]})
	}
	receipt, err := c.gateway.Buy(ctx, &shop.BuyRequest{Session: id})
	if err == nil && receipt.Item != strings.Join(items, ", ") {
		return nil, fmt.Errorf("%w: bought %s", errCart, receipt.Item)
	}
	return receipt, lost(err)
}

func lost(err error) error {
	if call.Code(err) == noSession {
		return fmt.Errorf("%w: %w", errCart, err)
	}
	return err
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
