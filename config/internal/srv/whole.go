package srv

import (
	"maps"
	"slices"
	"strings"

	"github.com/micro/go-platform/config/internal/conftree"
)

// weight is how much a config is, or at most becomes when it is merged: in bytes, and
// in values as conftree counts them, since readers refuse too many.
type weight struct{ bytes, values int }

func (w weight) plus(x weight) weight { return weight{w.bytes + x.bytes, w.values + x.values} }

// most returns what neither of the two is more than.
func (w weight) most(x weight) weight { return weight{max(w.bytes, x.bytes), max(w.values, x.values)} }

func (w weight) within(x weight) bool { return w.bytes <= x.bytes && w.values <= x.values }

// fits reports whether one message holds a config with all that it inherits, and
// readers take it.
func (w weight) fits() bool { return w.within(weight{maxRead, conftree.MaxNodes}) }

// weigh returns the weight of a config that is data for some instances and a
// candidate for others.
func weigh(data []byte, tree conftree.Tree, candidate []byte, candidateTree conftree.Tree) weight {
	return weight{len(data), conftree.Count(tree)}.most(weight{len(candidate), conftree.Count(candidateTree)})
}

// plan is what all configs weigh, by namespace and name, and who inherits from whom.
type plan struct {
	parents map[string]string
	configs map[string]map[string]weight
	largest map[string]weight // of a namespace, but for its base
}

// plan returns that of the view, but for one config.
func (v *view) plan(parents map[string]string, but string) *plan {
	p := &plan{parents, make(map[string]map[string]weight), make(map[string]weight)}
	for id, d := range v.docs {
		if id != but {
			p.set(id, d.weight)
		}
	}
	return p
}

func (p *plan) set(id string, w weight) {
	namespace, name, _ := strings.Cut(id, ":")
	if p.configs[namespace] == nil {
		p.configs[namespace] = make(map[string]weight)
	}
	p.configs[namespace][name] = w
	if name != baseConfig {
		p.largest[namespace] = p.largest[namespace].most(w)
	}
}

// namespaces returns all whose configs can differ from those of others.
func (p *plan) namespaces() []string {
	all := slices.AppendSeq([]string{rootNamespace}, maps.Keys(p.configs))
	all = slices.AppendSeq(all, maps.Keys(p.parents))
	slices.Sort(all)
	return slices.Compact(all)
}

// over returns a config of the namespaces, and its weight, that does not fit;
// that of the name, unless all inherit from it.
func (p *plan) over(namespaces []string, name string) (string, weight, bool) {
	var base, largest weight
	for _, n := range namespaces {
		base, largest = base.plus(p.configs[n][baseConfig]), largest.plus(p.largest[n])
	}
	if base.plus(largest).fits() {
		return "", weight{}, false
	}
	names := []string{name}
	if name == baseConfig {
		for _, n := range namespaces {
			names = slices.AppendSeq(names, maps.Keys(p.configs[n]))
		}
		slices.Sort(names)
	}
	for _, name := range slices.Compact(names) {
		all := base
		for _, n := range namespaces {
			if name != baseConfig {
				all = all.plus(p.configs[n][name])
			}
		}
		if !all.fits() {
			return name, all, true
		}
	}
	return "", weight{}, false
}

// check returns an error when a config does not fit that consists of one of
// the name in the namespace, among others: nobody could read it whole, nor hear of
// its changes.
func (p *plan) check(namespace, name string) error {
	for _, n := range p.namespaces() {
		namespaces := chain(p.parents, n)
		if !slices.Contains(namespaces, namespace) {
			continue
		}
		if which, w, over := p.over(namespaces, name); over {
			return invalid("%s:%s with all that it inherits would be up to %d bytes and %d values, more than %d bytes or %d values: nobody could watch it",
				n, which, w.bytes, w.values, maxRead, conftree.MaxNodes)
		}
	}
	return nil
}

func (v *view) weight(id string) weight {
	if d := v.docs[id]; d != nil {
		return d.weight
	}
	return weight{}
}

// whole checks a write that makes a config of another weight. What grows nothing is
// let through.
func (v *view) whole(id string, w weight) error {
	if w.within(v.weight(id)) {
		return nil
	}
	namespace, name, _ := strings.Cut(id, ":")
	p := v.plan(v.parents, id)
	p.set(id, w)
	return p.check(namespace, name)
}

// wholeHeirs checks an inheritance that begins.
func (v *view) wholeHeirs(namespace string, parents map[string]string) error {
	return v.plan(parents, "").check(namespace, baseConfig)
}
