package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go-micro.dev/v5/errors"

	shop "github.com/micro/go-platform/examples/platform/proto"
	"github.com/micro/go-platform/monitor"
)

// The services by the names they register.
const (
	gatewayName = "shop.gateway"
	ordersName  = "shop.orders"
	stockName   = "shop.stock"
)

// refused is the status of a payment that orders-2 refuses: the only failure
// there should be.
const refused = 409

type gatewayHandler struct{ orders shop.OrdersService }

func (h *gatewayHandler) Buy(ctx context.Context, item *shop.Item, receipt *shop.Receipt) error {
	placed, err := h.orders.Place(ctx, item)
	if err != nil {
		return err
	}
	receipt.Order = placed.Order
	return nil
}

func gateway(name string) func(*platform) (*node, error) {
	return func(p *platform) (*node, error) {
		n, err := newNode(p, gatewayName, name)
		if err != nil {
			return nil, err
		}
		h := &gatewayHandler{shop.NewOrdersService(ordersName, n.call())}
		if err := shop.RegisterGatewayHandler(n.service.Server(), h); err != nil {
			return nil, err
		}
		return n, n.serve()
	}
}

type ordersHandler struct {
	stock       shop.StockService
	node        *node
	refuseOneIn int64
	calls       atomic.Int64
}

func (h *ordersHandler) Place(ctx context.Context, item *shop.Item, receipt *shop.Receipt) error {
	number := h.calls.Add(1)
	if h.refuseOneIn > 0 && number%h.refuseOneIn == 0 {
		h.node.log.WithContext(ctx).Warnf("payment for %s refused", item.Name)
		return errors.New(ordersName, "payment refused", refused)
	}
	if _, err := h.stock.Reserve(ctx, item); err != nil {
		return err
	}
	receipt.Order = fmt.Sprintf("%s/%d", h.node.name, number)
	return nil
}

// payments is a check that fails without consequence for routing: the service
// answers, it only cannot sell everything.
func (h *ordersHandler) payments() (map[string]string, error) {
	results := map[string]string{"refused_one_in": fmt.Sprint(h.refuseOneIn)}
	if h.refuseOneIn > 0 {
		return results, fmt.Errorf("one payment in %d is refused", h.refuseOneIn)
	}
	return results, nil
}

func orders(name string, refuseOneIn int64) func(*platform) (*node, error) {
	return func(p *platform) (*node, error) {
		n, err := newNode(p, ordersName, name)
		if err != nil {
			return nil, err
		}
		h := &ordersHandler{stock: shop.NewStockService(stockName, n.call()), node: n, refuseOneIn: refuseOneIn}
		check := n.monitor.NewHealthChecker("payments", "the bank takes payments", h.payments,
			monitor.Critical(false), monitor.Every(time.Second))
		if err := n.monitor.Register(check); err != nil {
			return nil, err
		}
		if err := shop.RegisterOrdersHandler(n.service.Server(), h); err != nil {
			return nil, err
		}
		return n, n.serve()
	}
}

type stockHandler struct{ delay time.Duration }

func (h *stockHandler) Reserve(ctx context.Context, _ *shop.Item, _ *shop.Receipt) error {
	select {
	case <-time.After(h.delay):
		return nil
	case <-ctx.Done():
		return errors.Timeout(stockName, "%v", ctx.Err())
	}
}

func stock(name string, delay time.Duration) func(*platform) (*node, error) {
	return func(p *platform) (*node, error) {
		n, err := newNode(p, stockName, name)
		if err != nil {
			return nil, err
		}
		if err := shop.RegisterStockHandler(n.service.Server(), &stockHandler{delay}); err != nil {
			return nil, err
		}
		return n, n.serve()
	}
}
