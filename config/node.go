package config

import (
	"strings"

	"github.com/micro/go-platform/internal/conftree"
)

// node is a value at its place in an immutable tree of nodes, made beforehand
// so that Get returns it as it is. The nil node is a value that is not there.
type node struct {
	value any    // as in conftree
	kids  *kids  // of an object
	path  string // for errors of Scan
}

// fewKids is how many are looked through one by one, which is faster than a map
// for so few.
const fewKids = 8

// kids are the nodes of an object by key: in few, or in many when there are more
// than fewKids.
type kids struct {
	few  []kid
	many map[string]*node
}

type kid struct {
	key  string
	node *node
}

func newKids(n int) *kids {
	if n > fewKids {
		return &kids{many: make(map[string]*node, n)}
	}
	return &kids{few: make([]kid, 0, n)}
}

func (k *kids) add(key string, n *node) {
	if k.many != nil {
		k.many[key] = n
		return
	}
	k.few = append(k.few, kid{key, n})
}

func (k *kids) get(key string) *node {
	for i := range k.few {
		if k.few[i].key == key {
			return k.few[i].node
		}
	}
	return k.many[key]
}

func (k *kids) len() int { return len(k.few) + len(k.many) }

// kid returns what is at a key, nil when nothing is.
func (n *node) kid(key string) *node {
	if n == nil || n.kids == nil {
		return nil
	}
	return n.kids.get(key)
}

// get finds the node at a path.
func (n *node) get(path []string) *node {
	for _, key := range path {
		if n == nil || n.kids == nil {
			return nil
		}
		n = n.kids.get(key)
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
	fresh := newKids(len(object))
	same := old != nil && old.kids != nil && old.kids.len() == len(object)
	for key, x := range object {
		before := old.kid(key)
		n := grow(before, x, append(path, key))
		fresh.add(key, n)
		same = same && n == before
	}
	if same {
		return old
	}
	return &node{value: v, kids: fresh, path: strings.Join(path, ".")}
}
