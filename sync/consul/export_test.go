package consul

import (
	"github.com/micro/go-platform/internal/queue"
	"github.com/micro/go-platform/sync"
)

// NewStore is what NewSync is made of.
func NewStore(addr string) (queue.Store, error) { return newStore(sync.NewOptions(sync.Nodes(addr))) }
