// Package docs keeps what design.md says of the code true.
package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/micro/go-platform"

// tops are the folders that hold code.
var tops = []string{
	"auth", "config", "db", "discovery", "event", "kv", "log", "metrics", "monitor", "router", "sync", "trace", "examples", "internal",
}

// pkg is what go list says of a package; paths are relative to the module.
type pkg struct {
	ImportPath, Name, Dir, Export string
	Imports                       []string
	TestImports, XTestImports     []string
	Module                        *struct{ Path string }
}

func (p pkg) path() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// list returns the packages of this module and, by import path, the export data
// of all they need.
func list(t *testing.T) (ours []pkg, export map[string]string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Name,Dir,Export,Imports,TestImports,XTestImports,Module", "./...")
	cmd.Dir, cmd.Stderr = "../..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	export = make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ours, export
		} else if err != nil {
			t.Fatal(err)
		}
		export[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Path == module {
			ours = append(ours, p)
		}
	}
}

// A signature that users see names only types that they can name, and none that
// was generated.
func TestPublicSignatures(t *testing.T) {
	ours, export := list(t)
	load := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) })
	looked := 0
	for _, p := range ours {
		if p.Name == "main" || strings.Contains("/"+p.path()+"/", "/internal/") || strings.HasPrefix(p.path(), "examples/") || strings.HasSuffix(p.path(), "/proto") {
			continue
		}
		loaded, err := load.Import(p.ImportPath)
		if err != nil {
			t.Fatal(err)
		}
		looked++
		for _, f := range hidden(loaded, strings.HasSuffix(p.path(), "/plugin")) {
			t.Errorf("%s.%s", p.path(), f)
		}
	}
	if looked < 50 {
		t.Errorf("looked at %d packages", looked)
	}
}

// hidden returns what a package exports that names a type of an internal package
// or, unless they are welcome, of a proto package.
func hidden(p *types.Package, generated bool) (found []string) {
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		check := func(what string, t types.Type) {
			named(t, make(map[types.Type]bool), func(n *types.TypeName) {
				if n.Pkg() == nil || !strings.HasPrefix(n.Pkg().Path(), module) {
					return
				}
				path := n.Pkg().Path()
				if strings.Contains(path, "/internal/") || !generated && strings.HasSuffix(path, "/proto") {
					found = append(found, fmt.Sprintf("%s: %s.%s", what, strings.TrimPrefix(path, module+"/"), n.Name()))
				}
			})
		}
		tn, ok := o.(*types.TypeName)
		if !ok {
			check(name, o.Type())
			continue
		}
		if alias, ok := o.Type().(*types.Alias); ok {
			check(name, alias.Rhs())
			continue
		}
		check(name, tn.Type().Underlying())
		if n, ok := tn.Type().(*types.Named); ok {
			for m := range n.Methods() {
				if m.Exported() {
					check(name+"."+m.Name(), m.Type())
				}
			}
		}
	}
	return found
}

// named calls f for every named type that t is written with, exported fields and
// methods only.
func named(t types.Type, seen map[types.Type]bool, f func(*types.TypeName)) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		f(t.Obj())
	case *types.Named:
		f(t.Obj())
		for a := range t.TypeArgs().Types() {
			named(a, seen, f)
		}
	case interface{ Elem() types.Type }: // pointer, slice, array, chan, map
		named(t.Elem(), seen, f)
		if m, ok := t.(*types.Map); ok {
			named(m.Key(), seen, f)
		}
	case *types.Signature:
		named(t.Params(), seen, f)
		named(t.Results(), seen, f)
		for p := range t.TypeParams().TypeParams() {
			named(p.Constraint(), seen, f)
		}
	case *types.Tuple:
		for v := range t.Variables() {
			named(v.Type(), seen, f)
		}
	case *types.Struct:
		for v := range t.Fields() {
			if v.Exported() {
				named(v.Type(), seen, f)
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			if m.Exported() {
				named(m.Type(), seen, f)
			}
		}
		for e := range t.EmbeddedTypes() {
			named(e, seen, f)
		}
	}
}

// top is the folder at the root that a package is in.
func top(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// Features that need each other cannot be read, nor tested, one at a time. Only
// internal/daemon, which boots services that are guarded, registered and measured
// by features, closes a circle.
func TestNoCircles(t *testing.T) {
	ours, _ := list(t)
	needs := make(map[string]map[string]bool)
	for _, p := range ours {
		from := top(p.path())
		if needs[from] == nil {
			needs[from] = make(map[string]bool)
		}
		if p.Name == "main" || p.path() == "internal/daemon" {
			continue
		}
		for _, i := range p.Imports {
			if to, ok := strings.CutPrefix(i, module+"/"); ok && top(to) != from {
				needs[from][top(to)] = true
			}
		}
	}
	for from := range needs {
		if way := circle(needs, []string{from}); way != nil {
			t.Errorf("a circle: %s", strings.Join(way, " -> "))
		}
	}
}

// circle returns a way from the first folder back to it.
func circle(needs map[string]map[string]bool, way []string) []string {
	for to := range needs[way[len(way)-1]] {
		if to == way[0] {
			return append(way, to)
		}
		if slices.Contains(way, to) {
			continue
		}
		if found := circle(needs, append(slices.Clone(way), to)); found != nil {
			return found
		}
	}
	return nil
}

// internal/ is for what features share; what one of them needs stands below it.
func TestInternalIsSmall(t *testing.T) {
	all, within := 0, 0
	out, err := exec.Command("git", "-C", "../..", "ls-files", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	for f := range strings.FieldsSeq(string(out)) {
		if strings.HasSuffix(f, ".pb.go") || strings.HasSuffix(f, ".pb.micro.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("../..", f))
		if errors.Is(err, os.ErrNotExist) { // removed, and not yet committed
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(text, []byte("\n"))
		all += lines
		if strings.HasPrefix(f, "internal/") {
			within += lines
		}
	}
	if share := 100 * within / all; share >= 15 {
		t.Errorf("internal/ has %d of %d lines, %d %%", within, all, share)
	}
}

// What one feature alone uses stands below it.
func TestSharedPackagesAreShared(t *testing.T) {
	ours, _ := list(t)
	users := make(map[string][]string)
	for _, p := range ours {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if i, ok := strings.CutPrefix(i, module+"/"); ok && top(i) == "internal" && !strings.HasPrefix(p.path(), i) {
				users[i] = append(users[i], top(p.path()))
			}
		}
	}
	for shared, by := range users {
		if slices.Sort(by); by[0] != "internal" && len(slices.Compact(by)) == 1 {
			t.Errorf("%s is used by %s alone", shared, by[0])
		}
	}
}

// design.md has a row for every shared package and every engine, and names no
// folder that is not there.
func TestDesignNamesThePackages(t *testing.T) {
	text, err := os.ReadFile("design.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"internal/*", "*/internal/*"} {
		found, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			f = filepath.ToSlash(strings.TrimPrefix(f, filepath.FromSlash("../../")))
			if !strings.HasSuffix(f, "/srv") && !strings.HasPrefix(f, "examples/") && !bytes.Contains(text, []byte("| `"+f+"` |")) {
				t.Errorf("design.md has no row for %s", f)
			}
		}
	}
	for i, word := range strings.Split(string(text), "`") {
		if i%2 == 0 || strings.ContainsAny(word, "<*% ") || !slices.Contains(tops, top(word)) {
			continue
		}
		if _, err := os.Stat(filepath.Join("../..", word)); err != nil {
			t.Errorf("design.md names %s, which is not there", word)
		}
	}
}
