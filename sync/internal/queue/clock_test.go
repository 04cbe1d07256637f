package queue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wall are the functions and methods of time that read, make or compare wall
// clocks, or strip a time of its monotonic reading.
var wall = []string{
	"Unix", "UnixMilli", "UnixMicro", "UnixNano", "Date", "UTC", "Local", "In", "Round", "Truncate", "Equal", "Format",
	"Parse", "MarshalBinary", "MarshalText", "MarshalJSON", "Nanosecond", "Second", "Minute", "Hour",
}

// TestNoWallClock: a wall clock that jumps changes no lease, because none is
// read: only Every does, where a duty goes from one process to another.
func TestNoWallClock(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.go", "../memstore/*.go", "../../*.go", "../../*/*.go", "../../../internal/consulagents/*.go"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	reads := map[string]int{}
	looked := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "synctest") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		looked++
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(wall, s.Sel.Name) {
				reads[file]++
			}
			return true
		})
	}
	delete(reads, "every.go")
	if len(reads) > 0 || looked < 15 {
		t.Errorf("wall clocks are read in %v of %d files", reads, looked)
	}
}
