package skip_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/micro/go-platform/internal/backend/skip"
)

func TestReasonsAreNoted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "skipped")
	t.Setenv(skip.Variable, path)
	for _, reason := range []string{"no redis: install it", "no redis: install it", "not on windows"} {
		if !t.Run("skipped", func(t *testing.T) {
			skip.Test(t, reason)
			t.Error("the test goes on")
		}) {
			t.Error("a skip is a failure")
		}
	}
	const want = "no redis: install it\nno redis: install it\nnot on windows\n"
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("noted %q, %v; want %q", got, err, want)
	}
}

func TestNothingIsNotedWithoutAFile(t *testing.T) {
	t.Setenv(skip.Variable, "")
	if !t.Run("skipped", func(t *testing.T) { skip.Test(t, "no redis") }) {
		t.Error("a skip is a failure")
	}
}

// refused is a testing.TB that notes how the test would have ended.
type refused struct {
	testing.TB
	failed, skipped bool
}

func (r *refused) Helper()               {}
func (r *refused) Errorf(string, ...any) { r.failed = true }
func (r *refused) Skip(...any)           { r.skipped = true }

func TestAFileThatCannotBeWrittenFailsTheTest(t *testing.T) {
	t.Setenv(skip.Variable, t.TempDir())
	var r refused
	if skip.Test(&r, "no redis"); !r.failed || !r.skipped {
		t.Errorf("failed %v, skipped %v; want both", r.failed, r.skipped)
	}
}
