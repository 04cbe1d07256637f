// Package plugin is for authors of plugins of sync: it makes and checks what
// the options say, so that every plugin has the same defaults, bounds and errors.
package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/micro/go-platform/sync"
)

// NewOptions returns the defaults changed by opts. Logger and Trace can be
// called as they are, the Namespace begins with a slash and ends without one.
func NewOptions(opts ...sync.Option) sync.Options {
	o := sync.Options{Namespace: sync.DefaultNamespace, Logger: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	o.Namespace = "/" + strings.Trim(o.Namespace, "/")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Trace == nil {
		o.Trace = func(ctx context.Context, _ string, work func(context.Context) error) error { return work(ctx) }
	}
	return o
}

// CheckOptions returns a sync.ErrInvalid that names the option with a bad value.
// It is for Start; o comes from NewOptions.
func CheckOptions(o sync.Options) error {
	if name := strings.TrimPrefix(o.Namespace, "/"); name != "" {
		if err := CheckId(name); err != nil {
			return fmt.Errorf("%s: %w", "Namespace", err)
		}
	}
	for _, node := range o.Nodes {
		host, port, err := net.SplitHostPort(node)
		if err != nil || host == "" || port == "" || strings.Contains(host, "/") {
			return fmt.Errorf("%w: Nodes: %q: want host:port", sync.ErrInvalid, node)
		}
	}
	return nil
}

// NewLockOptions returns the defaults changed by opts, or a sync.ErrInvalid that
// names the option with a bad value or says why id cannot name a lock.
func NewLockOptions(id string, opts ...sync.LockOption) (sync.LockOptions, error) {
	o := sync.LockOptions{TTL: sync.DefaultLockTTL, Slots: 1}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.TTL < sync.MinLockTTL || o.TTL > sync.MaxLockTTL:
		return o, fmt.Errorf("%w: LockTTL %v: want %v to %v", sync.ErrInvalid, o.TTL, sync.MinLockTTL, sync.MaxLockTTL)
	case o.Wait < 0:
		return o, fmt.Errorf("%w: LockWait %v: negative", sync.ErrInvalid, o.Wait)
	case o.Slots < 1 || o.Slots > sync.MaxSlots:
		return o, fmt.Errorf("%w: Slots %d: want 1 to %d", sync.ErrInvalid, o.Slots, sync.MaxSlots)
	case o.Shared && o.Slots > 1:
		return o, fmt.Errorf("%w: Shared and Slots exclude each other", sync.ErrInvalid)
	}
	return o, CheckId(id)
}

// CheckId returns a sync.ErrInvalid that says why id cannot name a lock, an
// election or a duty. Control characters, an empty path element and "." or ".."
// would leave the namespace or be another key to some server.
func CheckId(id string) error {
	if id == "" || len(id) > sync.MaxId {
		return fmt.Errorf("%w: id of %d bytes: want 1 to %d", sync.ErrInvalid, len(id), sync.MaxId)
	}
	for element := range strings.SplitSeq(id, "/") {
		if element == "" || element == "." || element == ".." {
			return fmt.Errorf("%w: id %q: empty, . or .. between slashes", sync.ErrInvalid, id)
		}
	}
	if strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return fmt.Errorf("%w: id %q: control characters or broken UTF-8", sync.ErrInvalid, id)
	}
	return nil
}

// NewCallOptions returns the defaults changed by opts; the Context is never nil.
func NewCallOptions(opts ...sync.CallOption) sync.CallOptions {
	o := sync.CallOptions{Context: context.Background()}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
