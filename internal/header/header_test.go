package header_test

import (
	"context"
	"maps"
	"testing"

	"github.com/micro/go-platform/internal/header"
	"go-micro.dev/v6/metadata"
)

func TestGetIgnoresCase(t *testing.T) {
	for _, spelling := range []string{"traceparent", "Traceparent", "TRACEPARENT", "traceParent"} {
		if v, ok := header.Get(map[string]string{"other": "1", spelling: "x"}, "traceparent"); !ok || v != "x" {
			t.Errorf("%s: got %q, %v", spelling, v, ok)
		}
	}
	if _, ok := header.Get(nil, "traceparent"); ok {
		t.Error("found a key in nil")
	}
}

func TestSetLeavesOneSpelling(t *testing.T) {
	md := map[string]string{"X-Id": "1", "x-id": "2", "X-ID": "3", "keep": "me"}
	header.Set(md, "x-id", "new")
	if want := (map[string]string{"x-id": "new", "keep": "me"}); !maps.Equal(md, want) {
		t.Fatalf("got %v, want %v", md, want)
	}
}

func TestMergeKeepsTheRestAndTheOriginal(t *testing.T) {
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"Foo": "bar", "A": "old"})
	merged, _ := metadata.FromContext(header.Merge(ctx, "a", "new"))
	if want := (metadata.Metadata{"Foo": "bar", "a": "new"}); !maps.Equal(merged, want) {
		t.Fatalf("got %v, want %v", merged, want)
	}
	if before, _ := metadata.FromContext(ctx); before["A"] != "old" || len(before) != 2 {
		t.Fatalf("the caller's metadata changed: %v", before)
	}
	if md, _ := metadata.FromContext(header.Merge(context.Background(), "a", "b")); md["a"] != "b" {
		t.Fatalf("no metadata before: got %v", md)
	}
}

func TestPickAndDeleteAll(t *testing.T) {
	keys := []string{"traceparent", "b3", "X-Micro-Trace-Id"}
	for range 50 { // map order is random
		md := map[string]string{"Traceparent": "x", "traceparent": "exact", "TRACEPARENT": "y", "x-micro-trace-id": "id", "other": "o"}
		values := make([]string, len(keys))
		if !header.Pick(md, keys, values) || values[0] != "exact" || values[1] != "" || values[2] != "id" {
			t.Fatalf("picked %q", values)
		}
		header.DeleteAll(md, keys)
		if len(md) != 1 || md["other"] != "o" {
			t.Fatalf("left %v", md)
		}
	}
	if header.Pick(map[string]string{"other": "o"}, keys, make([]string, len(keys))) {
		t.Fatal("found what is not there")
	}
}

func TestView(t *testing.T) {
	v := header.NewView()
	if md := v.Of(context.Background()); md != nil {
		t.Errorf("of an empty context: %v", md)
	}
	want := metadata.Metadata{"a": "1"}
	ctx := context.WithValue(metadata.NewContext(context.Background(), want), v, "other")
	md := v.Of(ctx)
	if md["a"] != "1" {
		t.Fatalf("got %v", md)
	}
	if n := testing.AllocsPerRun(100, func() { v.Of(ctx) }); n != 0 {
		t.Errorf("%v allocations: it was copied", n)
	}
	if v.Is(v) || !v.Is(keyOf(ctx)) {
		t.Error("Is does not tell the key of metadata")
	}
}

// asked is a context that remembers what it was asked for.
type asked struct {
	context.Context
	key any
}

func (a *asked) Value(key any) any { a.key = key; return nil }

func keyOf(ctx context.Context) any {
	a := &asked{Context: ctx}
	_, _ = metadata.FromContext(a)
	return a.key
}

// Whatever the order of two editors, and whether they are next to each other,
// the metadata is what Delete and Set would have made of it, and the caller's is
// not touched.
func TestEditor(t *testing.T) {
	type other struct{}
	auth, trace := header.NewEditor("authorization"), header.NewEditor("traceparent", "b3", "X-B3-TraceId")
	base := metadata.Metadata{"Authorization": "old", "AUTHORIZATION": "older", "B3": "x", "x-b3-traceid": "y", "keep": "me"}
	before := maps.Clone(base)
	plain := metadata.NewContext(context.Background(), base)
	between := func(ctx context.Context) context.Context { return context.WithValue(ctx, other{}, 1) }
	for name, c := range map[string]struct {
		ctx  context.Context
		want metadata.Metadata
	}{
		"one":              {auth.With(plain, "new"), metadata.Metadata{"authorization": "new", "B3": "x", "x-b3-traceid": "y", "keep": "me"}},
		"both":             {auth.With(trace.With(plain, "t"), "new"), metadata.Metadata{"authorization": "new", "traceparent": "t", "keep": "me"}},
		"other order":      {trace.With(auth.With(plain, "new"), "t"), metadata.Metadata{"authorization": "new", "traceparent": "t", "keep": "me"}},
		"apart":            {auth.With(between(trace.With(plain, "t")), "new"), metadata.Metadata{"authorization": "new", "traceparent": "t", "keep": "me"}},
		"removed":          {auth.With(auth.With(plain, "new"), ""), metadata.Metadata{"B3": "x", "x-b3-traceid": "y", "keep": "me"}},
		"three":            {trace.With(auth.With(trace.With(plain, "t"), "new"), "u"), metadata.Metadata{"authorization": "new", "traceparent": "u", "keep": "me"}},
		"none before":      {auth.With(context.Background(), "new"), metadata.Metadata{"authorization": "new"}},
		"replaced between": {auth.With(metadata.NewContext(trace.With(plain, "t"), metadata.Metadata{"b": "c"}), "new"), metadata.Metadata{"authorization": "new", "b": "c"}},
	} {
		for range 2 { // made once
			got, _ := metadata.FromContext(c.ctx)
			if !maps.Equal(got, c.want) {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
			got["mine"] = "x"
		}
	}
	if !maps.Equal(base, before) {
		t.Errorf("the caller's metadata changed: %v", base)
	}
	if ctx := auth.With(between(plain), "new"); ctx.Value(other{}) != 1 {
		t.Error("other values are lost")
	}
}

func TestEditorGrowsOnce(t *testing.T) {
	auth, trace := header.NewEditor("authorization"), header.NewEditor("traceparent")
	for _, n := range []int{4, 7, 8, 9, 40} {
		base := metadata.Metadata{}
		for i := range n {
			base[string(rune('a'+i))] = "x"
		}
		ctx, v := metadata.NewContext(context.Background(), base), header.NewView()
		if got := len(v.Of(auth.With(trace.With(ctx, "t"), "a"))); got != n+2 {
			t.Errorf("%d keys of %d", got, n+2)
		}
	}
}
