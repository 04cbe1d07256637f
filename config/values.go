package config

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/config/internal/conftree"
)

// values are Values of their own: a snapshot, or those of a Reader.
type values struct {
	root atomic.Pointer[node]
	mu   sync.Mutex // of Set and Del
}

func newValues(root *node) *values {
	v := &values{}
	v.root.Store(root)
	return v
}

// Get implements Values.
func (v *values) Get(path ...string) Value { return v.root.Load().get(path) }

// Bytes implements Values.
func (v *values) Bytes() []byte { return v.root.Load().Bytes() }

// Set implements Values.
func (v *values) Set(val any, path ...string) {
	op, err := newSet(val, path)
	if err != nil {
		v.root.Load().doubts.log.Warn("cannot set a value", "error", err)
		return
	}
	v.apply(op)
}

// Del implements Values.
func (v *values) Del(path ...string) { v.apply(newDel(path)) }

func (v *values) apply(o op) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.root.Load()
	v.root.Store(grow(old, o.apply(old.value.(conftree.Tree)), place{doubts: old.doubts}))
}

// op is one Set or Del.
type op struct {
	path []string
	val  any
	del  bool
}

func newDel(path []string) op { return op{path: append([]string(nil), path...), del: true} }

func newSet(val any, path []string) (op, error) {
	o := op{path: append([]string(nil), path...)}
	if len(path) > MaxDepth {
		return o, fmt.Errorf("config: set: %w: path of more than %d elements", ErrInvalid, MaxDepth)
	}
	if d, ok := val.(time.Duration); ok {
		val = d.String() // a number would lack its unit
	}
	encoded, err := json.Marshal(val)
	if err != nil {
		return o, fmt.Errorf("config: set %q: %w", path, err)
	}
	if o.val, err = conftree.DecodeJSON(encoded); err != nil {
		return o, fmt.Errorf("config: set %q: %w", path, err)
	}
	if o.val == nil { // null removes, as it does in sources
		o.del = true
	}
	if _, object := o.val.(conftree.Tree); len(path) == 0 && !object && !o.del {
		return o, fmt.Errorf("config: set: %w: all values must be an object", ErrInvalid)
	}
	return o, nil
}

func (o op) apply(t conftree.Tree) conftree.Tree {
	switch {
	case len(o.path) > 0 && o.del:
		return conftree.Delete(t, o.path)
	case len(o.path) > 0:
		return conftree.Set(t, o.path, o.val)
	case o.del:
		return conftree.Tree{}
	}
	return o.val.(conftree.Tree)
}

// covers reports whether o overrides all that p sets.
func (o op) covers(p op) bool {
	if len(o.path) > len(p.path) {
		return false
	}
	for i, key := range o.path {
		if p.path[i] != key {
			return false
		}
	}
	return true
}
