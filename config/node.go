package config

import (
	"math/bits"
	"strings"

	"github.com/micro/go-platform/config/internal/conftree"
)

// node is a value at its place in an immutable tree of nodes, made beforehand
// so that Get returns it as it is. The nil node is a value that is not there.
type node struct {
	value  any    // as in conftree
	kids   *kids  // of an object
	path   string // for errors of Scan
	doubts *doubts
}

// kids are the nodes of an object by key: an open hash table by a look at a few
// bytes of the key, which takes half the time of a map, unless too many keys look
// alike.
type kids struct {
	places []kid // a power of two, at most half of them taken
	many   map[string]*node
	count  int
}

type kid struct {
	key  string
	node *node
}

// maxRun is after how many others a key may be found.
const maxRun = 8

func newKids(n int) *kids { return &kids{places: make([]kid, 2<<bits.Len(uint(n)))} }

// glance hashes the length and three bytes of a key.
func glance(key string) uint32 {
	n := len(key)
	if n == 0 {
		return 0
	}
	h := uint32(key[0]) | uint32(key[n/2])<<8 | uint32(key[n-1])<<16
	return (h ^ uint32(n)<<24) * 0x9e3779b1 >> 8
}

func (k *kids) add(key string, n *node) {
	k.count++
	if k.many == nil {
		for i := range uint32(maxRun) {
			if p := k.place(glance(key) + i); p.node == nil {
				*p = kid{key, n}
				return
			}
		}
		k.many = make(map[string]*node, len(k.places)/2)
		for _, p := range k.places {
			if p.node != nil {
				k.many[p.key] = p.node
			}
		}
	}
	k.many[key] = n
}

func (k *kids) place(i uint32) *kid { return &k.places[int(i)&(len(k.places)-1)] }

func (k *kids) get(key string) *node {
	if k.many != nil {
		return k.many[key]
	}
	for i := glance(key); ; i++ {
		p := k.place(i)
		if p.node == nil || p.key == key {
			return p.node
		}
	}
}

func (k *kids) len() int { return k.count }

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

// place is where a node grows.
type place struct {
	path   []string
	doubts *doubts // gets what does not convert; may be nil
}

// grow returns the node of v. It is old itself when nothing differs, and shares
// with it what did not change: watchers compare pointers.
func grow(old *node, v any, at place) *node {
	object, ok := v.(map[string]any)
	if !ok {
		if old != nil && old.kids == nil && conftree.Equal(old.value, v) {
			return old
		}
		return &node{value: v, path: strings.Join(at.path, "."), doubts: at.doubts}
	}
	fresh := newKids(len(object))
	same := old != nil && old.kids != nil && old.kids.len() == len(object)
	for key, x := range object {
		before := old.kid(key)
		n := grow(before, x, place{append(at.path, key), at.doubts})
		fresh.add(key, n)
		same = same && n == before
	}
	if same {
		return old
	}
	return &node{value: v, kids: fresh, path: strings.Join(at.path, "."), doubts: at.doubts}
}
