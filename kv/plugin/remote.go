// Package plugin is for authors of plugins of kv that keep items on a server; users
// of kv need nothing of it. What the default plugin uses too, such as kv.CheckKey,
// is in kv.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/kv"
)

// life has Start, Stop, and Use, which begins a call.
type life = lifecycle.Plugin

// Remote is what plugins on a server have in common: it is started and stopped,
// judges arguments and names errors. Make it with NewRemote and embed it.
type Remote struct {
	Options kv.Options

	*life
	failed func(err error) error
}

// NewRemote returns a Remote. failed translates an error of the server's client to
// one of kv; it returns nil for an error that it does not know, which then counts
// as kv.ErrUnavailable. open makes that client when the plugin starts, without
// asking the server anything; it may be nil. close ends the client.
func NewRemote(o kv.Options, failed func(err error) error, open, close func() error) *Remote {
	r := &Remote{Options: o, failed: failed}
	hooks := lifecycle.Hooks{Check: o.Validate, Close: close}
	if open != nil {
		hooks.Open = func(context.Context) error { return open() }
	}
	r.life = lifecycle.NewPlugin("kv", hooks)
	return r
}

// Key returns the key with its namespace: no two of them are the same, since a
// namespace has no colon.
func (r *Remote) Key(key string) string { return r.Options.Namespace + ":" + key }

// Do calls f with a context that is bounded by Timeout, and names in its error
// what failed. It returns bad, and does not call f, when bad is not nil. The first
// call starts the plugin.
func (r *Remote) Do(doing, key string, opts []kv.CallOption, bad error, f func(ctx context.Context) error) error {
	if bad != nil {
		return bad
	}
	o, cancel := kv.NewCallOptions(r.Options.Timeout, opts...)
	defer cancel()
	if err := o.Context.Err(); err != nil {
		return err
	}
	if err := r.Use(o.Context); err != nil {
		return err
	}
	if o.Token > 0 {
		return kv.Failed(doing, key, fmt.Errorf("fencing token: %w", kv.ErrUnsupported))
	}
	err := f(o.Context)
	if err == nil {
		return nil
	}
	return kv.Failed(doing, key, r.name(o.Context, err))
}

// name translates an error of f to one of kv.
func (r *Remote) name(ctx context.Context, err error) error {
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		<-ctx.Done() // a connection with the same deadline can be a moment faster
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if ours(err) || errors.Is(err, kv.ErrInvalid) {
		return err
	}
	if known := r.failed(err); known != nil {
		err = known
	} else {
		err = fmt.Errorf("%w: %w", kv.ErrUnavailable, clean.URLError(err))
	}
	switch {
	case ours(err):
	case !r.Running(): // Stop cut it off
		err = fmt.Errorf("%w: %w", kv.ErrStopped, err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// ours reports whether err is an answer of the server and not a failure.
func ours(err error) bool {
	return errors.Is(err, kv.ErrNotFound) || errors.Is(err, kv.ErrExists) || errors.Is(err, kv.ErrConflict)
}
