// Package conftree is what a configuration is inside config and config-srv: a
// tree of objects read from JSON, YAML or TOML, bounded, merged, changed by
// path and compared. Trees are immutable: what changes one returns another that
// shares the rest.
package conftree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/micro/go-platform/internal/rpcerr"
)

// Bounds of a configuration.
const (
	MaxSize  = 4 << 20 // bytes as read
	MaxDepth = 64      // objects and lists inside each other
	MaxNodes = 200_000 // values, objects and lists
	MaxKey   = 256     // bytes of a key
)

// Tree is an object. Its values are bool, Number, string, []any, map[string]any
// and, in a patch, nil.
type Tree = map[string]any

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{rpcerr.ErrInvalid}, args...)...)
}

// Encode returns the tree as JSON with sorted keys.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null") // a tree holds nothing that JSON cannot say
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Count returns how many values, objects and lists there are: of a tree that is nil,
// none.
func Count(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return 0
		}
		for _, x := range v {
			n += Count(x)
		}
	case []any:
		for _, x := range v {
			n += Count(x)
		}
	}
	return n
}

// Merge returns base changed by patch as RFC 7396 (JSON Merge Patch) says:
// objects are merged key by key, null removes, all else replaces.
func Merge(base, patch Tree) Tree {
	merged := make(Tree, len(base)+len(patch))
	maps.Copy(merged, base)
	for key, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			below, _ := merged[key].(map[string]any)
			merged[key] = Merge(below, v)
		default:
			merged[key] = v
		}
	}
	return merged
}

// Lookup returns what is at a path.
func Lookup(t Tree, path []string) (any, bool) {
	var v any = t
	for _, key := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[key]; !ok {
			return nil, false
		}
	}
	return v, true
}

// Set returns t with v at a path, making objects on the way there. The path is
// not empty.
func Set(t Tree, path []string, v any) Tree {
	changed := make(Tree, len(t)+1)
	maps.Copy(changed, t)
	if len(path) > 1 {
		below, _ := t[path[0]].(map[string]any)
		v = Set(below, path[1:], v)
	}
	changed[path[0]] = v
	return changed
}

// Delete returns t without what is at a path, which is not empty.
func Delete(t Tree, path []string) Tree {
	if _, found := Lookup(t, path); !found {
		return t
	}
	changed := maps.Clone(t)
	if len(path) == 1 {
		delete(changed, path[0])
		return changed
	}
	changed[path[0]] = Delete(t[path[0]].(map[string]any), path[1:])
	return changed
}

// Equal compares two values of trees.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case Number:
		b, ok := b.(Number)
		return ok && a == b
	}
	return reflect.DeepEqual(a, b)
}

// Difference is one path at which two trees differ.
type Difference struct {
	Path          []string
	Before, After any // nil: nothing was there, or is
}

// Diff returns where two trees differ, in order. An object on one side alone is
// told key by key.
func Diff(before, after Tree) []Difference {
	return diff(nil, nil, before, after)
}

func diff(found []Difference, path []string, before, after any) []Difference {
	b, bok := before.(map[string]any)
	a, aok := after.(map[string]any)
	bok, aok = bok && len(b) > 0 || bok && aok, aok && len(a) > 0 || bok && aok
	if !(bok || before == nil) || !(aok || after == nil) || !bok && !aok {
		if !Equal(before, after) {
			found = append(found, Difference{slices.Clone(path), before, after})
		}
		return found
	}
	keys := slices.Collect(maps.Keys(b))
	for key := range a {
		if _, both := b[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		found = diff(found, append(path, key), b[key], a[key])
	}
	return found
}
