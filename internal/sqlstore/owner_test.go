package sqlstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/sqlstore"
)

// A second instance on a file is told whose it is; another service may use the
// file, and so may the next instance.
func TestOneInstanceOfAFile(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "x.db")
	open := func(s sqlstore.Schema) (*sqlstore.DB, error) { return sqlstore.Open(t.Context(), url, s) }
	first, err := open(things())
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(things())
	if !errors.Is(err, sqlstore.ErrInUse) || sqlstore.Away(err) || !strings.Contains(err.Error(), fmt.Sprint("things-srv, process ", os.Getpid(), " on ")) {
		t.Errorf("a second instance: %v", err)
	}
	other, err := open(schema("other", "others"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := errors.Join(first.Close(), other.Close()); err != nil {
			t.Error(err)
		}
	}
	next, err := open(things())
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
