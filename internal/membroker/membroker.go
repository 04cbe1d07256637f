// Package membroker is go-micro's memory broker made fit for several services
// in one process: connected from the start, and left connected when one of them
// stops.
package membroker

import "go-micro.dev/v6/broker"

// New returns a connected broker in memory. Queue groups are ignored: every
// subscriber gets every message.
func New() (broker.Broker, error) {
	b := broker.NewMemoryBroker()
	if err := b.Connect(); err != nil {
		return nil, err
	}
	return Shared(b), nil
}

// Shared returns b without its Disconnect. A go-micro server disconnects its
// broker when it stops, for everyone else who uses it.
func Shared(b broker.Broker) broker.Broker { return shared{b} }

type shared struct{ broker.Broker }

func (shared) Disconnect() error { return nil }
