package consul

import (
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/queue"
	"github.com/micro/go-platform/sync/plugin"
)

// NewStore is what NewSync is made of.
func NewStore(addr string) (queue.Store, error) { return newStore(plugin.NewOptions(sync.Nodes(addr))) }
