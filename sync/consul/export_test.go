package consul

import (
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/queue"
)

// NewStore is what NewSync is made of.
func NewStore(addr string) (queue.Store, error) {
	s := newStore(sync.NewOptions(sync.Nodes(addr)))
	return s, s.open()
}
