package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/errors"

	"github.com/micro/go-platform/db"
	shop "github.com/micro/go-platform/examples/platform/proto"
	"github.com/micro/go-platform/monitor"
)

// The services by the names they register.
const (
	gatewayName   = "shop.gateway"
	ordersName    = "shop.orders"
	stockName     = "shop.stock"
	schedulerName = "shop.scheduler"
)

// ordersTable is where orders are stored; its changes are events.
const ordersTable = "orders"

// configID is the configuration of the shop, canaryPercent the share of calls
// that the new version of the stock gets.
const (
	configID      = "shop:CONFIG"
	canaryPercent = 10
)

// refused is the status of a payment that orders-2 refuses: the only failure
// there should be.
const refused = 409

type ordersHandler struct {
	platform    *platform
	stock       shop.StockService
	db          db.DB
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
	receipt.Order, receipt.Item = fmt.Sprintf("%s/%d", h.node.name, number), item.Name
	receipt.Discount = int64(h.node.config.Get("discount").Int(0))
	return h.store(ctx, receipt.Order, item)
}

// store keeps an order.
func (h *ordersHandler) store(ctx context.Context, id string, item *shop.Item) error {
	if err := db.Put(h.db, id, item.Name, db.CreateOnly(), db.WithContext(ctx)); err != nil {
		return errors.InternalServerError(ordersName, "%v", err)
	}
	h.platform.stored(id)
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

func orders(name string, refuseOneIn int64) func(context.Context, *platform) (*node, error) {
	return func(ctx context.Context, p *platform) (*node, error) {
		n, err := newNode(ctx, p, ordersName, "v1", name)
		if err != nil {
			return nil, err
		}
		h := &ordersHandler{platform: p, stock: shop.NewStockService(stockName, n.call()), node: n, refuseOneIn: refuseOneIn}
		h.db = db.NewDB(db.Client(n.authed), db.Table(ordersTable), db.Events(true))
		if err := h.db.Start(); err != nil {
			return nil, err
		}
		n.ends = append(n.ends, h.db.Stop)
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

// stockHandler is a node of the stock.
type stockHandler struct {
	platform *platform
	delay    time.Duration
	goodIn   int64 // once the shop is open only one call in so many succeeds; 0: all
	calls    atomic.Int64
}

func (h *stockHandler) Reserve(ctx context.Context, _ *shop.Item, _ *shop.Receipt) error {
	if h.platform.opened.Load() {
		if n := h.calls.Add(1); h.goodIn > 0 && n%h.goodIn != 0 {
			return errors.InternalServerError(stockName, "the shelf fell over")
		}
	}
	select {
	case <-time.After(h.delay):
		return nil
	case <-ctx.Done():
		return errors.Timeout(stockName, "%v", ctx.Err())
	}
}

func stock(name, version string, delay time.Duration, goodIn int64) func(context.Context, *platform) (*node, error) {
	return func(ctx context.Context, p *platform) (*node, error) {
		n, err := newNode(ctx, p, stockName, version, name)
		if err != nil {
			return nil, err
		}
		h := &stockHandler{platform: p, delay: delay, goodIn: goodIn}
		p.stocks = append(p.stocks, h)
		if err := shop.RegisterStockHandler(n.service.Server(), h); err != nil {
			return nil, err
		}
		return n, n.serve()
	}
}
