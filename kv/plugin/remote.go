// Package plugin is what plugins of kv that keep items on a server are made of.
// Users of kv need none of it. What the default plugin uses too, such as
// kv.NewOptions and kv.CheckKey, stands in kv.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/kv"
)

// Remote is what plugins on a server have in common: it is started and stopped,
// judges arguments and names errors. Make it with NewRemote and embed it.
type Remote struct {
	Options kv.Options

	group  lifecycle.Group
	failed func(err error) error
	close  func() error
}

// NewRemote returns a Remote. failed gives what a client of the server returned
// the error of kv that it stands for, or returns nil when there is none: it then
// counts as kv.ErrUnavailable. close is called by Stop.
func NewRemote(o kv.Options, failed func(err error) error, close func() error) *Remote {
	return &Remote{Options: o, failed: failed, close: close}
}

// Start implements kv.KV.
func (r *Remote) Start() error {
	if err := r.Options.Validate(); err != nil {
		return err
	}
	return r.group.Start()
}

// Stop implements kv.KV.
func (r *Remote) Stop() error {
	return errors.Join(r.group.Stop(lifecycle.FlushTimeout), r.close())
}

// Key returns the key with its namespace: no two of them are the same, since a
// namespace has no colon.
func (r *Remote) Key(key string) string { return r.Options.Namespace + ":" + key }

// Do calls f, bounded in time, unless the arguments were bad, and says what it
// was that failed.
func (r *Remote) Do(doing, key string, opts []kv.CallOption, bad error, f func(ctx context.Context) error) error {
	if bad != nil {
		return bad
	}
	if !r.group.Running() {
		return kv.ErrStopped
	}
	o, cancel := kv.NewCallOptions(r.Options.Timeout, opts...)
	defer cancel()
	if o.Token > 0 {
		return fmt.Errorf("%w: fencing token", kv.ErrUnsupported)
	}
	err := o.Context.Err()
	if err == nil {
		err = f(o.Context)
	}
	if err == nil {
		return nil
	}
	return r.fail(o.Context, doing, key, err)
}

func (r *Remote) fail(ctx context.Context, doing, key string, err error) error {
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		<-ctx.Done() // a connection with the same deadline can be a moment faster
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	for _, ours := range []error{kv.ErrNotFound, kv.ErrExists, kv.ErrConflict, kv.ErrInvalid} {
		if errors.Is(err, ours) {
			return err
		}
	}
	if known := r.failed(err); known != nil {
		err = known
	} else {
		err = fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	if errors.Is(err, kv.ErrNotFound) || errors.Is(err, kv.ErrExists) || errors.Is(err, kv.ErrConflict) {
		return err
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("%s %.80q: %w", doing, key, err)
}
