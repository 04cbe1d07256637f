package devauth_test

import (
	"os"
	"testing"

	"github.com/micro/go-platform/examples/internal/devauth"
)

func TestWhereAnAccountComesFrom(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	want := func(id string) {
		t.Helper()
		if a, err := devauth.Load(); err != nil || a.ID != id {
			t.Errorf("got %+v, %v, want %q", a, err, id)
		}
	}
	want("")
	remove, err := devauth.Save(devauth.Account{ID: "file", Secret: "s"})
	if err != nil {
		t.Fatal(err)
	}
	want("file")
	path, err := devauth.Path()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	t.Setenv(devauth.EnvID, "environment")
	want("environment")
	t.Setenv(devauth.EnvID, "")
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	want("")
}
