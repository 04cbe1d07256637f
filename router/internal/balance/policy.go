package balance

import (
	"cmp"
	"slices"
	"strings"
)

// Policy is what is laid down for a service from outside. It is immutable.
type Policy struct {
	Rules  []Rule      // in the order in which they decide: Sort
	Labels []LabelRule // likewise
	Nodes  map[string]NodePolicy
}

// NodePolicy is what others say of a node, by its id.
type NodePolicy struct {
	Weight  float64 // 0..1, 0 is not given
	Ejected int64   // until when, on the pool's clock
	Reason  string
}

// Rule divides calls among versions, see RuleSet in router.proto.
type Rule struct {
	ID, Version, Key, Value string // Key and Value in lower case
	Weight                  int    // 0..100
	Priority                int64
}

// LabelRule binds calls with a label to nodes with it, see LabelSet in
// router.proto.
type LabelRule struct {
	ID, Version, Key, Value string // Key and Value in lower case
	Weight                  int    // 0..100
	Priority                int64
	Strict                  bool // no node: the call fails
}

// Label is one of a call, in lower case.
type Label struct{ Key, Value string }

// Sort puts rules and labels in the order in which they decide.
func (p *Policy) Sort() {
	slices.SortStableFunc(p.Rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(p.Labels, func(a, b LabelRule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
	})
}

// Lower puts keys and values into lower case.
func (p *Policy) Lower() {
	for i := range p.Rules {
		r := &p.Rules[i]
		r.Key, r.Value = strings.ToLower(r.Key), strings.ToLower(r.Value)
	}
	for i := range p.Labels {
		l := &p.Labels[i]
		l.Key, l.Value = strings.ToLower(l.Key), strings.ToLower(l.Value)
	}
}

// keyed reports whether the labels of a call matter.
func (p *Policy) keyed() bool {
	return p != nil && (len(p.Labels) > 0 || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Key != "" }))
}

// applies reports whether a rule with a key is meant for calls with these labels.
func (r *Rule) applies(labels []Label) bool {
	return slices.ContainsFunc(labels, func(l Label) bool { return l.Key == r.Key && (r.Value == "" || r.Value == l.Value) })
}

// binding returns the index of the label rule that binds calls with this label
// and point, or -1. Of those for the label the last decides.
func (p *Policy) binding(l Label, point float64) int {
	for i := len(p.Labels) - 1; i >= 0; i-- {
		r := &p.Labels[i]
		if r.Key == l.Key && (r.Value == "" || r.Value == l.Value) {
			if point < float64(r.Weight) {
				return i
			}
			return -1
		}
	}
	return -1
}

// Point is where a sticky key lies on the line 0..100 of a service: FNV-1a (G.
// Fowler, L. C. Noll, K.-P. Vo) and the finalizer of SplitMix64 (G. Steele et
// al., 2014), so that every caller puts a user at the same place.
func Point(service, key string) float64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{service, "\x00", key} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return position(h)
}

func position(r uint64) float64 { return float64(r>>11) / (1 << 53) * 100 }
