package rpctest

import (
	"errors"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
)

// uncached is go-micro's selector without its cache, which holds what it learned
// for five seconds at least, also that there is no such service, and whose
// records a call reads without a lock while the cache's watcher changes them.
type uncached struct{ opts selector.Options }

func (u *uncached) Init(opts ...selector.Option) error {
	for _, opt := range opts {
		opt(&u.opts)
	}
	return nil
}

func (u *uncached) Options() selector.Options { return u.opts }

func (u *uncached) Select(service string, opts ...selector.SelectOption) (selector.Next, error) {
	o := selector.SelectOptions{Strategy: u.opts.Strategy}
	for _, opt := range opts {
		opt(&o)
	}
	services, err := u.opts.Registry.GetService(service)
	if err != nil {
		if errors.Is(err, registry.ErrNotFound) {
			return nil, selector.ErrNotFound
		}
		return nil, err
	}
	for _, filter := range o.Filters {
		services = filter(services)
	}
	if len(services) == 0 {
		return nil, selector.ErrNoneAvailable
	}
	if o.Strategy == nil {
		return selector.Random(services), nil
	}
	return o.Strategy(services), nil
}

func (u *uncached) Mark(string, *registry.Node, error) {}
func (u *uncached) Reset(string)                       {}
func (u *uncached) Close() error                       { return nil }
func (u *uncached) String() string                     { return "uncached" }
