package router

import (
	"context"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/router/internal/balance"
)

// maxTried bounds the nodes a Next remembers.
const maxTried = 3

// attempt is the state behind one Next: go-micro calls it for each try of a
// call, from one goroutine at a time. It is made for every call, hence small.
type attempt struct {
	s     *service
	from  *callContext // nil: nothing is known of the call
	n     int
	tried [maxTried]*balance.Member
}

// lastNode tells ClientWrapper which node a stream went to.
type lastNode struct{ member *balance.Member }

func (a *attempt) next() (*registry.Node, error) {
	m, err := a.s.pool.Pick(a.call(), a.tried[:a.n])
	if err != nil {
		return nil, ErrNoneAvailable
	}
	return a.take(m), nil
}

func (a *attempt) call() *balance.Call {
	if a.from == nil {
		return nil
	}
	return a.from.call
}

func (a *attempt) take(m *balance.Member) *registry.Node {
	if a.n < maxTried {
		a.tried[a.n] = m
		a.n++
	}
	if a.from != nil && a.from.last != nil {
		a.from.last.member = m
	}
	a.s.pool.Begin(m, !a.s.p.measured.Load())
	return m.Node
}

// callContext carries what a wrapper knows of a call through SelectOptions.
type callContext struct {
	context.Context
	call *balance.Call
	last *lastNode
}

// Select implements Router.
func (p *platform) Select(name string, opts ...selector.SelectOption) (selector.Next, error) {
	s, err := p.service(name)
	if err != nil {
		return nil, err
	}
	if len(opts) == 0 && *p.strategy.Load() == nil {
		a := &attempt{s: s}
		return a.next, nil
	}
	return p.selectWith(s, opts)
}

// selectWith applies what the caller asks for.
func (p *platform) selectWith(s *service, opts []selector.SelectOption) (selector.Next, error) {
	o := selector.SelectOptions{Strategy: *p.strategy.Load()}
	option.Apply(&o, opts)
	a := &attempt{s: s}
	if c, ok := o.Context.(*callContext); ok {
		a.from = c
	}
	if len(o.Filters) == 0 && o.Strategy == nil {
		return a.next, nil
	}
	all := s.pool.Services()
	services := all
	for _, filter := range o.Filters {
		services = filter(services)
	}
	if len(services) == 0 {
		return nil, ErrNoneAvailable
	}
	if o.Strategy != nil {
		return a.foreign(o.Strategy(services)), nil
	}
	if len(services) == len(all) && &services[0] == &all[0] {
		return a.next, nil // nothing was filtered
	}
	n := 0
	for _, version := range services {
		n += len(version.Nodes)
	}
	kept := make(map[string]bool, n)
	for _, version := range services {
		for _, n := range version.Nodes {
			kept[n.Id] = true
		}
	}
	only := s.pool.Only(a.call(), func(m *balance.Member) bool { return kept[m.Node.Id] })
	if only == nil { // the filter brought nodes of its own
		return a.foreign(selector.Random(services)), nil
	}
	return func() (*registry.Node, error) {
		m, err := only.Pick(a.tried[:a.n])
		if err != nil {
			return nil, ErrNoneAvailable
		}
		return a.take(m), nil
	}, nil
}

// foreign counts what a strategy of the user's names.
func (a *attempt) foreign(next selector.Next) selector.Next {
	return func() (*registry.Node, error) {
		node, err := next()
		if err != nil || node == nil {
			return node, err
		}
		if m := a.s.pool.Find(node.Id); m != nil {
			a.take(m)
		}
		return node, nil
	}
}
