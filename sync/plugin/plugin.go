// Package plugin is for authors of plugins of sync: it validates the options of
// locks and calls, so that every plugin has the same defaults, bounds and errors.
// sync.NewOptions makes the options of the plugin itself.
package plugin

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/sync"
)

// NewLockOptions returns the defaults changed by opts, or a sync.ErrInvalid that
// names the option with a bad value or says why id cannot name a lock.
func NewLockOptions(id string, opts ...sync.LockOption) (sync.LockOptions, error) {
	o := sync.LockOptions{TTL: sync.DefaultLockTTL, Slots: 1}
	option.Apply(&o, opts)
	c := option.Of("sync")
	option.Within(c, "LockTTL", o.TTL, sync.MinLockTTL, sync.MaxLockTTL)
	option.AtLeast(c, "LockWait", o.Wait, 0)
	option.Within(c, "Slots", o.Slots, 1, sync.MaxSlots)
	c.That(!o.Shared || o.Slots <= 1, "Shared", "not with Slots of %d", o.Slots)
	return o, errors.Join(c.Err(), sync.CheckId(id))
}

const maxNode = 4 << 10

// NewLeaderOptions returns the defaults changed by opts, or a sync.ErrInvalid that
// names the option with a bad value or says why id cannot name a seat.
func NewLeaderOptions(id string, opts ...sync.LeaderOption) (sync.LeaderOptions, error) {
	o := sync.LeaderOptions{TTL: sync.DefaultLockTTL}
	option.Apply(&o, opts)
	c := option.Of("sync")
	option.Within(c, "LeaderTTL", o.TTL, sync.MinLockTTL, sync.MaxLockTTL)
	data, err := json.Marshal(o.Node)
	c.That(err == nil && len(data) <= maxNode, "LeaderNode", "%d bytes of JSON are more than %d", len(data), maxNode)
	return o, errors.Join(c.Err(), sync.CheckId(id))
}

// NewCallOptions returns the defaults changed by opts; the Context is never nil.
func NewCallOptions(opts ...sync.CallOption) sync.CallOptions {
	o := sync.CallOptions{Context: context.Background()}
	option.Apply(&o, opts)
	return o
}
