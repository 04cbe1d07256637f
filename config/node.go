package config

import (
	"strings"

	"github.com/micro/go-platform/internal/conftree"
)

// node is a value at its place in an immutable tree of nodes, made beforehand
// so that Get returns it as it is. The nil node is a value that is not there.
type node struct {
	value any              // as in conftree
	kids  map[string]*node // of an object, by key
	path  string           // for errors of Scan
}

// get finds the node at a path.
func (n *node) get(path []string) *node {
	for _, key := range path {
		if n == nil {
			return nil
		}
		n = n.kids[key]
	}
	return n
}

// grow returns the node of v. It is old itself when nothing differs, and shares
// with it what did not change: watchers compare pointers.
func grow(old *node, v any, path []string) *node {
	object, ok := v.(map[string]any)
	if !ok {
		if old != nil && old.kids == nil && conftree.Equal(old.value, v) {
			return old
		}
		return &node{value: v, path: strings.Join(path, ".")}
	}
	kids := make(map[string]*node, len(object))
	same := old != nil && old.kids != nil && len(old.kids) == len(object)
	for key, x := range object {
		var before *node
		if old != nil {
			before = old.kids[key]
		}
		kids[key] = grow(before, x, append(path, key))
		same = same && kids[key] == before
	}
	if same {
		return old
	}
	return &node{value: v, kids: kids, path: strings.Join(path, ".")}
}
