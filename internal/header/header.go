// Package header reads and writes go-micro metadata whatever the letter case:
// the http transport canonicalises keys, grpc lowers them, memory keeps them.
// Wrappers use it instead of metadata.Get and Set.
package header

import (
	"context"
	"strings"

	"go-micro.dev/v6/metadata"
)

// Get returns the value of key in any letter case, the exact one first.
func Get(md map[string]string, key string) (string, bool) {
	if v, ok := md[key]; ok {
		return v, true
	}
	for k, v := range md {
		if len(k) == len(key) && strings.EqualFold(k, key) {
			return v, true
		}
	}
	return "", false
}

// Set writes key into md and removes its other spellings, of which the wire
// would else carry a random one.
func Set(md map[string]string, key, value string) {
	Delete(md, key)
	md[key] = value
}

// Delete removes key from md in every letter case.
func Delete(md map[string]string, key string) {
	for k := range md {
		if len(k) == len(key) && strings.EqualFold(k, key) {
			delete(md, k)
		}
	}
}

// Merge returns a context whose metadata is that of ctx with the given pairs
// (key, value, key, value, ...) set. The metadata of ctx is not changed.
func Merge(ctx context.Context, pairs ...string) context.Context {
	md, ok := metadata.FromContext(ctx) // a copy
	if !ok {
		md = make(metadata.Metadata, len(pairs)/2)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		Set(md, pairs[i], pairs[i+1])
	}
	return metadata.NewContext(ctx, md)
}

// Pick looks up all keys in one pass: values[i] becomes that of keys[i] in any
// letter case, the exact one first. It reports whether there was any.
func Pick(md map[string]string, keys, values []string) (found bool) {
	for k, v := range md {
		i := index(keys, k)
		if i < 0 {
			continue
		}
		found = true
		if k == keys[i] || values[i] == "" {
			values[i] = v
		} else if exact, ok := md[keys[i]]; ok {
			values[i] = exact
		}
	}
	return found
}

// DeleteAll removes all keys from md in every letter case.
func DeleteAll(md map[string]string, keys []string) {
	for k := range md {
		if index(keys, k) >= 0 {
			delete(md, k)
		}
	}
}

// index returns the place of k in keys in any letter case, or -1.
func index(keys []string, k string) int {
	if k == "" {
		return -1
	}
	for i, key := range keys {
		if len(k) == len(key) && k[0]|0x20 == key[0]|0x20 && strings.EqualFold(k, key) {
			return i
		}
	}
	return -1
}

// View reads the metadata of a context without copying it, which is what
// metadata.FromContext spends its time on. Make one with NewView when a wrapper
// is built.
type View struct{ key any }

// NewView learns, by asking once, under which key go-micro keeps metadata.
func NewView() View {
	var l learner
	_, _ = metadata.FromContext(&l) // finds nothing: only the question matters
	return View{l.key}
}

// Of returns the metadata of ctx, nil if there is none. It is read only.
func (v View) Of(ctx context.Context) metadata.Metadata {
	if v.key == nil {
		md, _ := metadata.FromContext(ctx)
		return md
	}
	md, _ := ctx.Value(v.key).(metadata.Metadata)
	return md
}

// Is reports whether key is the one that metadata is asked for with.
func (v View) Is(key any) bool { return v.key != nil && key == v.key }

type learner struct {
	context.Context
	key any
}

func (l *learner) Value(key any) any {
	l.key = key
	return nil
}
