package atomicfile_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/micro/go-platform/internal/atomicfile"
)

func TestWriteReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = before.Close() }) // it is only read
	for _, want := range []string{"new", ""} {
		if err := atomicfile.Write(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if old, err := io.ReadAll(before); err != nil || string(old) != "old" {
		t.Errorf("who read the old file now reads %q, %v", old, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	alone(t, path)
}

func TestWriteMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := atomicfile.Write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnErrorLeavesWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state") // a directory: cannot be replaced by a file
	kept := filepath.Join(path, "kept")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("new")); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(kept); err != nil || string(got) != "old" {
		t.Errorf("got %q, %v", got, err)
	}
	alone(t, path)
	if err := atomicfile.Write(filepath.Join(path, "missing", "state"), nil); !os.IsNotExist(err) {
		t.Errorf("without the directory: %v", err)
	}
}

// alone checks that nothing else is in the directory of path.
func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("found %v, %v", entries, err)
	}
}
