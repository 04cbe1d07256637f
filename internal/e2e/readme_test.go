package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgramsInReadmesCompile builds every program that a README shows.
func TestProgramsInReadmesCompile(t *testing.T) {
	const root = "../.."
	readmes, err := filepath.Glob(root + "/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := 0
	for _, readme := range append(readmes, root+"/README.md") {
		text, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```go\n")[1:] {
			code, _, _ := strings.Cut(block, "```")
			if !strings.HasPrefix(code, "package main") {
				continue
			}
			programs++
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "build", "-o", os.DevNull, file)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", readme, err, out)
			}
		}
	}
	if programs == 0 {
		t.Error("no README shows a program")
	}
}
