// Package keys makes a document of the keys below a path in a key/value store:
// consul and etcd share it.
package keys

import (
	"fmt"
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

// Document returns the JSON of what is at Root and below it, or
// config.ErrNotFound when nothing is. Keys that only begin like Root are left
// out.
func (t Tree) Document(found map[string][]byte) ([]byte, error) {
	document, any := conftree.Tree{}, false
	if whole, ok := found[t.Root]; ok {
		var err error
		if document, err = conftree.Decode(t.Format, whole); err != nil {
			return nil, fmt.Errorf("key %s: %w", t.Root, err)
		}
		any = true
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	below := conftree.Tree{}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, t.Root+"/")
		if !ok || rest == "" || strings.HasSuffix(rest, "/") { // Consul's folders
			continue
		}
		path, err := conftree.ParsePath(rest)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", name, err)
		}
		for i := range path {
			if v, there := conftree.Lookup(below, path[:i+1]); there {
				if _, object := v.(conftree.Tree); !object || i == len(path)-1 {
					return nil, fmt.Errorf("key %s: %w: another key holds a value on its way", name, config.ErrInvalid)
				}
			}
		}
		below, any = conftree.Set(below, path, value(found[name])), true
	}
	if !any {
		return nil, fmt.Errorf("%w: no key at %s", config.ErrNotFound, t.Root)
	}
	data := conftree.Encode(conftree.Merge(document, below))
	if len(data) > config.MaxSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", config.ErrInvalid, config.MaxSize)
	}
	return data, nil
}

// value is what a key holds: JSON, or else the text as it is.
func value(raw []byte) any {
	if v, err := conftree.DecodeJSON(raw); err == nil {
		return v
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}
