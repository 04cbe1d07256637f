package router

import (
	"fmt"
	"strings"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/router/internal/balance"
)

// Explanation tells where the calls of a service go and why, at one moment.
type Explanation struct {
	Service     string
	Source      string // of the nodes
	Strategy    Balance
	Zone        string
	Panicking   bool // more than half of the nodes are in trouble
	Versions    []VersionState
	Nodes       []NodeState // by version, then id
	Notes       []string
	RetryTokens float64 // retries the budget allows now
	Limited     int64   // calls that limits refused since the start
}

// VersionState is the part of one version.
type VersionState struct {
	Version string  // empty: all versions alike
	Percent float64 // of the calls
	Reason  string
}

// NodeState is one node.
type NodeState struct {
	Node     *registry.Node
	Version  string
	Zone     string
	Calls    float64 // that ended in the last seconds, older ones counting less
	Share    float64 // 0..1, of those
	Weight   float64 // 0..1
	Latency  time.Duration
	InFlight int
	Streams  int
	Success  float64 // 0..1
	Reasons  []string
}

// ExplainOption says of which calls Explain tells.
type ExplainOption func(*explained)

// explained is the calls that Explain is asked about.
type explained struct{ labels []balance.Label }

// CallsWithLabel explains calls that carry the label, for each label once.
func CallsWithLabel(name, value string) ExplainOption {
	return func(c *explained) {
		c.labels = append(c.labels, balance.Label{Key: strings.ToLower(name), Value: strings.ToLower(value)})
	}
}

// Explain implements Router.
func (p *platform) Explain(name string, opts ...ExplainOption) (*Explanation, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	s := p.find(name)
	if s == nil {
		return nil, fmt.Errorf("router: explain %s: %w", name, ErrNotFound)
	}
	var c explained
	option.Apply(&c, opts)
	e := newExplanation(s.pool.Explain(c.labels))
	e.Service = name
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

func newExplanation(of balance.Explanation) *Explanation {
	e := &Explanation{Strategy: Balance(of.Strategy), Zone: of.Zone, Panicking: of.Panicking, Notes: of.Notes}
	for _, v := range of.Versions {
		e.Versions = append(e.Versions, VersionState(v))
	}
	for _, n := range of.Nodes {
		e.Nodes = append(e.Nodes, NodeState(n))
	}
	return e
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
