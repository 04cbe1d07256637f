// Package keys makes a document of the keys below a path in a key/value store:
// consul and etcd share it.
package keys

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/internal/conftree"
)

// Tree is where the keys are.
type Tree struct {
	Root   string // without a slash at the end
	Format string // of a whole document at Root
}

// Document returns the JSON of what is at Root and below it, nothing for an empty
// document, or config.ErrNotFound when there is no key. Keys that only begin like
// Root are left out. skipped are the keys with a bad name or below another key.
func (t Tree) Document(found map[string][]byte) (data []byte, skipped []string, err error) {
	document, whole := conftree.Tree{}, false
	if raw, ok := found[t.Root]; ok {
		if document, err = conftree.Decode(t.Format, raw); err != nil {
			return nil, nil, fmt.Errorf("key %s: %w", t.Root, err)
		}
		whole = true
	}
	below, skipped := t.below(found)
	switch {
	case !whole && len(below) == 0 && len(skipped) == 0:
		return nil, nil, fmt.Errorf("%w: no key at %s", config.ErrNotFound, t.Root)
	case whole && len(below) == 0 && len(bytes.TrimSpace(found[t.Root])) == 0:
		return nil, skipped, nil
	}
	data = conftree.Encode(conftree.Merge(document, below))
	if len(data) > config.MaxSize {
		return nil, nil, fmt.Errorf("%w: larger than %d bytes", config.ErrInvalid, config.MaxSize)
	}
	return data, skipped, nil
}

// below returns the values of the keys below Root.
func (t Tree) below(found map[string][]byte) (below conftree.Tree, skipped []string) {
	below = conftree.Tree{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		rest, ok := strings.CutPrefix(name, t.Root+"/")
		if !ok || rest == "" || strings.HasSuffix(rest, "/") { // Consul's folders
			continue
		}
		path, err := conftree.ParsePath(rest)
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("key %.256q: %v", name, err))
			continue
		}
		if !free(below, path) {
			skipped = append(skipped, fmt.Sprintf("key %.256q: another key holds a value on its way", name))
			continue
		}
		below = conftree.Set(below, path, value(found[name]))
	}
	return below, skipped
}

// free reports whether there is no value at a path, nor on the way there.
func free(t conftree.Tree, path []string) bool {
	for i := range path {
		v, there := conftree.Lookup(t, path[:i+1])
		if !there {
			return true
		}
		if _, object := v.(conftree.Tree); !object {
			return false
		}
	}
	return false
}

// value is what a key holds: JSON, or else the text as it is.
func value(raw []byte) any {
	if v, err := conftree.DecodeJSON(raw); err == nil {
		return v
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}
