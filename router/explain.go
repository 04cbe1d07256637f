package router

import (
	"fmt"
	"strings"

	"github.com/micro/go-platform/router/internal/balance"
)

// Explanation tells where the calls of a service go and why, at one moment.
type Explanation struct {
	Service string
	Source  string // of the nodes
	balance.Explanation
	RetryTokens float64 // retries the budget allows now
	Limited     int64   // calls that limits refused since the start
}

// ExplainOption says of which calls Explain tells.
type ExplainOption func(*balance.Call, string)

// CallsWithLabel explains calls that carry the label, for each label once.
func CallsWithLabel(name, value string) ExplainOption {
	return func(c *balance.Call, _ string) {
		c.Labels = append(c.Labels, balance.Label{Key: strings.ToLower(name), Value: strings.ToLower(value)})
	}
}

// CallsWithKey explains calls with the sticky key.
func CallsWithKey(key string) ExplainOption {
	return func(c *balance.Call, service string) { c.Sticky, c.Point = true, balance.Point(service, key) }
}

// Explain implements Router.
func (p *platform) Explain(name string, opts ...ExplainOption) (*Explanation, error) {
	s := p.find(name)
	if s == nil {
		return nil, fmt.Errorf("explain %s: %w", name, ErrNotFound)
	}
	c := &balance.Call{}
	for _, o := range opts {
		o(c, name)
	}
	e := &Explanation{Service: name, Explanation: s.pool.Explain(c)}
	e.RetryTokens = float64(s.budget.tokens.Load()) / retryToken
	e.Limited = s.limits.refused.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.answer != nil && s.live && !s.answer.stale && len(s.answer.services) > 0:
		e.Source = "router-srv"
	case s.snapshot != nil:
		e.Source = "registry"
	default:
		e.Source = "last list of router-srv"
	}
	return e, nil
}

// String tells it in words and figures, a line per version and node.
func (e *Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, nodes from the %s", e.Service, e.Strategy, e.Source)
	if e.Zone != "" {
		fmt.Fprintf(&b, ", in zone %s", e.Zone)
	}
	fmt.Fprintf(&b, "; %.1f retries left, %d calls limited\n", e.RetryTokens, e.Limited)
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	for _, v := range e.Versions {
		name := v.Version
		if name == "" {
			name = "all versions"
		}
		fmt.Fprintf(&b, "  %s: %.1f %% (%s)\n", name, v.Percent, v.Reason)
	}
	for _, n := range e.Nodes {
		fmt.Fprintf(&b, "  %s %s %s: %.1f %% of the calls, latency %v, %d in flight, %.1f %% went well",
			n.Node.Id, n.Version, n.Node.Address, n.Share*100, n.Latency.Round(1000), n.InFlight, n.Success*100)
		if len(n.Reasons) > 0 {
			fmt.Fprintf(&b, " - %s", strings.Join(n.Reasons, "; "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
