package rpc

import (
	"sync"

	"go-micro.dev/v6/client"
)

// Held is the client that a plugin has from its Start to its Stop. The zero
// value is ready; all methods are safe for concurrent use.
type Held struct {
	mu      sync.Mutex
	client  client.Client
	release func()
	closed  bool
}

// Open has acquire called, by the first Open and not after Close.
func (h *Held) Open(acquire func() (client.Client, func())) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == nil && !h.closed {
		h.client, h.release = acquire()
	}
}

// Close releases the client, once.
func (h *Held) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil && !h.closed {
		h.release()
	}
	h.closed = true
}

// Get returns the client, nil before Open, and whether it is open. What is called
// after Close may fail.
func (h *Held) Get() (_ client.Client, open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.client, h.client != nil && !h.closed
}
