package prometheus

import (
	"errors"
	"sync/atomic"

	prom "github.com/prometheus/client_golang/prometheus"
)

// slot is a namespace in a registry, with the series of the plugin that has it. It
// stays in the registry, which cannot unregister collectors without descriptions, and
// passes on from plugin to plugin.
type slot struct {
	namespace string
	held      atomic.Pointer[collector]
}

// claim returns the slot of a namespace, which it registers if need be.
func claim(r *prom.Registry, namespace string) (*slot, error) {
	s := &slot{namespace: namespace}
	err := r.Register(mark{s})
	var already prom.AlreadyRegisteredError
	if errors.As(err, &already) {
		if other, ok := already.ExistingCollector.(mark); ok {
			return other.slot, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.Register(s); err != nil {
		r.Unregister(mark{s})
		return nil, err
	}
	return s, nil
}

// Describe implements prom.Collector: no descriptions, because series come and
// have different labels under one name.
func (s *slot) Describe(chan<- *prom.Desc) {}

// Collect implements prom.Collector.
func (s *slot) Collect(out chan<- prom.Metric) {
	if c := s.held.Load(); c != nil {
		c.collect(out)
	}
}

// mark is what a registry knows a slot by: it compares descriptions, and the series
// have none.
type mark struct{ slot *slot }

// Describe implements prom.Collector.
func (m mark) Describe(out chan<- *prom.Desc) {
	out <- prom.NewDesc("go_platform_metrics", "a plugin of go-platform", nil, prom.Labels{"namespace": m.slot.namespace})
}

// Collect implements prom.Collector.
func (mark) Collect(chan<- prom.Metric) {}
