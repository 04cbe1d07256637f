package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	stderrors "errors"
	"slices"
	"strings"
	"time"

	"go-micro.dev/v6/errors"

	shop "github.com/micro/go-platform/examples/platform/proto"
	"github.com/micro/go-platform/kv"
)

// noSession is the status of a call with a session that is not there: what a
// visitor gets whose session was lost.
const noSession = 410

// ringNamespace is that of what the gateways keep: sessions, and the books of the
// schedulers.
const ringNamespace = "shop"

// session is what the shop knows of a visitor. The gateways keep it in their
// memory, each on all of the three, so that any of them can serve the visitor.
type session struct {
	Visitor string   `json:"visitor"`
	Items   []string `json:"items"`
}

func sessionKey(id string) string { return "session/" + id }

type gatewayHandler struct {
	orders   shop.OrdersService
	sessions kv.KV
}

func (h *gatewayHandler) Fill(ctx context.Context, req *shop.FillRequest, cart *shop.Cart) error {
	s, id := session{Visitor: req.Visitor}, req.Session
	if id == "" {
		id = rand.Text()
	} else if err := h.load(ctx, id, &s); err != nil {
		return err
	}
	if !slices.Contains(s.Items, req.Item) { // a repeated call changes nothing
		s.Items = append(s.Items, req.Item)
	}
	if err := h.save(ctx, id, s); err != nil {
		return err
	}
	cart.Session, cart.Visitor, cart.Items = id, s.Visitor, s.Items
	return nil
}

func (h *gatewayHandler) Buy(ctx context.Context, req *shop.BuyRequest, receipt *shop.Receipt) error {
	var s session
	if err := h.load(ctx, req.Session, &s); err != nil {
		return err
	}
	placed, err := h.orders.Place(ctx, &shop.Item{Name: strings.Join(s.Items, ", ")})
	if err != nil {
		return err
	}
	receipt.Order, receipt.Discount, receipt.Item = placed.Order, placed.Discount, placed.Item
	return nil
}

func (h *gatewayHandler) load(ctx context.Context, id string, s *session) error {
	item, err := h.sessions.Get(sessionKey(id), kv.WithContext(ctx))
	switch {
	case stderrors.Is(err, kv.ErrNotFound):
		return errors.New(gatewayName, "no such session", noSession)
	case err != nil:
		return errors.InternalServerError(gatewayName, "%v", err)
	}
	return json.Unmarshal(item.Value, s)
}

func (h *gatewayHandler) save(ctx context.Context, id string, s session) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	item := &kv.Item{Key: sessionKey(id), Value: value, Expiration: 24 * time.Hour}
	if err := h.sessions.Put(item, kv.WithContext(ctx)); err != nil {
		return errors.InternalServerError(gatewayName, "%v", err)
	}
	return nil
}

func gateway(name string) func(context.Context, *platform) (*node, error) {
	return func(ctx context.Context, p *platform) (*node, error) {
		n, err := newNode(ctx, p, gatewayName, "v1", name)
		if err != nil {
			return nil, err
		}
		n.ring = kv.NewKV(
			kv.Server(n.service.Server()), kv.Client(n.authed), kv.Logger(n.says),
			kv.Namespace(ringNamespace), kv.MaxBytes(64<<20),
		)
		if err := n.ring.Start(); err != nil {
			return nil, err
		}
		n.leaves = append(n.leaves, n.ring.Stop)
		h := &gatewayHandler{shop.NewOrdersService(ordersName, n.call()), n.ring}
		if err := shop.RegisterGatewayHandler(n.service.Server(), h); err != nil {
			return nil, err
		}
		return n, n.serve()
	}
}
