package lifecycletest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The table begins below this line of design.md and ends with a line that does
// not begin with a bar.
const marker = "<!-- lifecycletest -->"

// compare looks for the row of a plugin in the table. With LIFECYCLE_TABLE set
// it writes the row.
func (r *row) compare(t *testing.T, name string) {
	t.Helper()
	root, at := place()
	if root == "" {
		return // the plugin of somebody else
	}
	file := filepath.Join(root, "internal", "docs", "design.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), marker+"\n")
	if !ok {
		t.Fatalf("%s has no line %s", file, marker)
	}
	lines := strings.Split(rest, "\n")
	end := slices.IndexFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "|") })
	table, after := slices.Clone(lines[:end]), lines[end:]

	head := line(append([]string{"package", "plugin"}, r.names...))
	cells := []string{at, name}
	for _, n := range r.names {
		cells = append(cells, r.cells[n])
	}
	row := line(cells)
	if slices.Contains(table, row) && table[0] == head {
		return
	}
	if os.Getenv("LIFECYCLE_TABLE") == "" {
		t.Errorf("internal/docs/design.md lacks this row, which LIFECYCLE_TABLE=1 go test -p 1 writes:\n%s\n%s", head, row)
		return
	}
	rows := slices.DeleteFunc(table, func(l string) bool {
		return !strings.HasPrefix(l, "| ") || strings.HasPrefix(l, "| package |") || strings.HasPrefix(l, line(cells[:2]))
	})
	rows = append(rows, row)
	slices.Sort(rows)
	rule := "|" + strings.Repeat("---|", len(cells))
	text = []byte(before + marker + "\n" + strings.Join(slices.Concat([]string{head, rule}, rows, after), "\n"))
	if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // a page of documentation
		t.Fatal(err)
	}
}

func line(cells []string) string { return "| " + strings.Join(cells, " | ") + " |" }

// place returns the root of go-platform's checkout and where below it the test
// runs, or nothing when it runs elsewhere.
func place() (root, at string) {
	here, err := os.Getwd()
	if err != nil {
		return "", ""
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/micro/go-platform\n") {
			at, err := filepath.Rel(dir, here)
			if err != nil {
				return "", ""
			}
			return dir, filepath.ToSlash(at)
		}
		if dir == filepath.Dir(dir) {
			return "", ""
		}
	}
}
