package main

import (
	"errors"
	"net"
	"sync"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/registry"
)

// wire is all that an instance serves, registers and publishes through. Cut, it
// does to others what kill -9 does: connections break, and nobody is told.
type wire struct {
	net.Listener

	mu    sync.Mutex
	dead  bool
	conns map[net.Conn]struct{}
}

func newWire() (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	return &wire{Listener: l, conns: map[net.Conn]struct{}{}}, err
}

// Accept implements net.Listener.
func (w *wire) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	w.conns[c] = struct{}{}
	return wiredConn{c, w}, nil
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	_ = w.Listener.Close() // it only says that it is closed already
	for c := range w.conns {
		_ = c.Close() // as above
	}
}

func (w *wire) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

type wiredConn struct {
	net.Conn
	wire *wire
}

func (c wiredConn) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.conns, c.Conn)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}

// wiredRegistry hears no more of the instance once the wire is cut: it waits for
// the lease to end.
type wiredRegistry struct {
	registry.Registry
	wire *wire
}

func (r *wiredRegistry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	if r.wire.isDead() {
		return nil
	}
	return r.Registry.Register(s, opts...)
}

func (r *wiredRegistry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	if r.wire.isDead() {
		return nil
	}
	return r.Registry.Deregister(s, opts...)
}

type wiredBroker struct {
	broker.Broker
	wire *wire
}

func (b *wiredBroker) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	if b.wire.isDead() {
		return nil
	}
	return b.Broker.Publish(topic, m, opts...)
}
