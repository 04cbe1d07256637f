package config

import (
	"slices"

	"github.com/micro/go-platform/config/internal/conftree"
)

// OverlaySource is what Explain calls the changes of Set and Del.
const OverlaySource = "set"

// Explanation is where a value comes from.
type Explanation struct {
	Path  []string
	Value Value
	// Source is the one that decided: the last one that says something there.
	// It is empty when nobody does.
	Source string
	// Layers are all that say something there, in the order in which they are
	// merged.
	Layers []Layer
	// Doubts are the getters that returned their default because the value does not
	// convert, as "want a bool, got a list". They show no values.
	Doubts []string
}

// Layer is what one source says at a path.
type Layer struct {
	Source string
	Value  Value // as the source has it; that it removes the value shows as no Bytes
	// Effective reports whether it is, or is in, the result. Of several objects
	// each is; of other values only the last.
	Effective bool
}

// layerTree is what one source said, with its nulls.
type layerTree struct {
	source string
	tree   conftree.Tree
}

// Explain implements Config.
func (p *platform) Explain(path ...string) Explanation {
	s := p.read()
	e := Explanation{Path: slices.Clone(path), Value: s.root.get(path)}
	e.Doubts = p.doubts.at(path)
	over := false // a later layer replaced what is below
	note := func(source string, v any, object bool) {
		e.Layers = append(e.Layers, Layer{Source: source, Value: grow(nil, v, place{path: path}), Effective: !over})
		if e.Source == "" {
			e.Source = source
		}
		over = over || !object
	}
	for i := len(s.overlay); i > 0; i-- {
		switch o := s.overlay[i-1]; {
		case o.covers(op{path: path}): // it says what is at the path
			v, _ := conftree.Lookup(conftree.Tree{"": o.val}, append([]string{""}, path[len(o.path):]...))
			note(OverlaySource, v, false)
		case (op{path: path}).covers(o): // it says something below
			note(OverlaySource, o.apply(conftree.Tree{}), true)
		}
	}
	for i := len(s.layers); i > 0; i-- {
		v, found, ends := find(s.layers[i-1].tree, path)
		if found {
			_, object := v.(conftree.Tree)
			note(s.layers[i-1].source, v, object)
		} else if ends {
			note(s.layers[i-1].source, nil, false)
		}
	}
	slices.Reverse(e.Layers)
	return e
}

// find looks for a path. It ends when something on the way is not an object: what
// earlier sources have below it is gone.
func find(t conftree.Tree, path []string) (v any, found, ends bool) {
	v = t
	for _, key := range path {
		object, ok := v.(conftree.Tree)
		if !ok {
			return nil, false, true
		}
		if v, ok = object[key]; !ok {
			return nil, false, false
		}
	}
	return v, true, false
}
