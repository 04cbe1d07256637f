package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Filter selects records by their type. The zero value selects every type that
// does not begin with event.ReservedPrefix.
type Filter struct {
	exact    map[string]struct{}
	prefixes []string // with the dot
	all      bool
}

// NewFilter returns the filter of a subscription's types, or an event.ErrInvalid
// that says what is wrong with them.
func NewFilter(types ...string) (Filter, error) {
	if len(types) > wire.MaxTypes {
		return Filter{}, fmt.Errorf("%w: types: %d, more than %d", rpcerr.ErrInvalid, len(types), wire.MaxTypes)
	}
	var f Filter
	for _, t := range types {
		prefix, isPrefix := strings.CutSuffix(t, ".*")
		switch {
		case t == "*":
			f.all = true
		case !clean.Name(t, wire.MaxType+2), !isPrefix && strings.HasSuffix(t, "*"), isPrefix && prefix == "":
			return Filter{}, fmt.Errorf("%w: types: %.80q is neither a type nor a prefix as a.*", rpcerr.ErrInvalid, t)
		case isPrefix:
			f.prefixes = append(f.prefixes, prefix+".")
		default:
			if f.exact == nil {
				f.exact = make(map[string]struct{})
			}
			f.exact[t] = struct{}{}
		}
	}
	return f, nil
}

// All reports whether every type is selected that is not reserved.
func (f Filter) All() bool { return f.all || len(f.exact) == 0 && len(f.prefixes) == 0 }

// Exact returns the types that are selected by name.
func (f Filter) Exact() []string { return slices.Sorted(maps.Keys(f.exact)) }

// Prefixes returns what selected types begin with, the dot included.
func (f Filter) Prefixes() []string { return f.prefixes }

// Union returns the filter that selects what f or g selects. It may have more types
// than NewFilter takes.
func (f Filter) Union(g Filter) Filter {
	u := Filter{exact: maps.Clone(f.exact), all: f.All() || g.All()}
	if u.exact == nil {
		u.exact = make(map[string]struct{})
	}
	maps.Copy(u.exact, g.exact)
	u.prefixes = slices.Concat(f.prefixes, g.prefixes)
	slices.Sort(u.prefixes)
	u.prefixes = slices.Compact(u.prefixes)
	return u
}

// Types returns the types that NewFilter makes this filter of, sorted.
func (f Filter) Types() []string {
	types := f.Exact()
	for _, p := range f.prefixes {
		types = append(types, p+"*")
	}
	if f.All() {
		types = append(types, "*")
	}
	slices.Sort(types)
	return types
}

// Misses returns those of the types, as Types returns them, of which f does not select
// every record.
func (f Filter) Misses(types []string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(t string) bool { return f.Match(strings.TrimSuffix(t, "*")) })
}

// Match reports whether records of the type are selected.
func (f Filter) Match(typ string) bool {
	if f.All() && !strings.HasPrefix(typ, wire.ReservedPrefix) {
		return true
	}
	if _, ok := f.exact[typ]; ok {
		return true
	}
	for _, p := range f.prefixes {
		if strings.HasPrefix(typ, p) {
			return true
		}
	}
	return false
}
