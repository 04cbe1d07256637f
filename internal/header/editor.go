package header

import (
	"context"
	"maps"
	"sync"

	"go-micro.dev/v6/metadata"
)

// Editor writes one header into the metadata of contexts. Wrappers make one
// when they are built: the metadata is copied once per call, when somebody reads
// it, however many editors have changed it.
type Editor struct {
	View
	key  string
	drop []string
}

// NewEditor returns an Editor that writes key and removes it and the others
// named, in any letter case.
func NewEditor(key string, drop ...string) *Editor {
	return &Editor{View: NewView(), key: key, drop: append([]string{key}, drop...)}
}

// With returns a context whose metadata is that of ctx with value written; an
// empty one removes. The metadata of ctx must not be changed any more.
func (e *Editor) With(ctx context.Context, value string) context.Context {
	if e.View.key == nil { // go-micro keeps metadata elsewhere
		md, _ := metadata.FromContext(ctx)
		made := &edited{base: md, edits: [2]edit{{e, value}}}
		made.make()
		return metadata.NewContext(ctx, made.made)
	}
	if below, ok := ctx.(*edited); ok && below.edits[1].editor == nil {
		// Not made yet, most likely: both edits are one copy.
		return &edited{Context: below.Context, base: below.base, edits: [2]edit{below.edits[0], {e, value}}}
	}
	return &edited{Context: ctx, base: e.Of(ctx), edits: [2]edit{{e, value}}}
}

type edit struct {
	editor *Editor
	value  string
}

// edited is a context whose metadata is base and what edits make of it.
type edited struct {
	context.Context
	base  metadata.Metadata
	edits [2]edit // the second may be missing
	once  sync.Once
	made  metadata.Metadata
}

func (c *edited) Value(key any) any {
	if c.edits[0].editor.Is(key) {
		c.once.Do(c.make)
		return c.made
	}
	return c.Context.Value(key)
}

// smallMap is how many entries a map holds before it is of another kind, which
// costs several allocations to grow into.
const smallMap = 8

func (c *edited) make() {
	if len(c.base) == 0 || len(c.base) <= smallMap && len(c.base)+len(c.edits) > smallMap {
		c.made = make(metadata.Metadata, len(c.base)+len(c.edits))
		maps.Copy(c.made, c.base)
	} else {
		c.made = maps.Clone(c.base) // a third cheaper
	}
	for key := range c.base {
		if c.dropped(key, 0) {
			delete(c.made, key)
		}
	}
	for i, e := range c.edits {
		if e.value != "" && !c.dropped(e.editor.key, i+1) {
			c.made[e.editor.key] = e.value
		}
	}
}

// dropped reports whether an edit, from one on, removes key.
func (c *edited) dropped(key string, from int) bool {
	for _, e := range c.edits[from:] {
		if e.editor != nil && index(e.editor.drop, key) >= 0 {
			return true
		}
	}
	return false
}
