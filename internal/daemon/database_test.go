package daemon_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// A DATABASE_URL that a service does not take is told, and what is in it is not.
func TestDatabaseURLOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		env, given string
		warns      bool
	}{{"", "", false}, {"mysql://shop:secret@db/shop", "", true}, {"mysql://shop:secret@db/shop", "sqlite::memory:", false}} {
		if c.env != "" {
			t.Setenv("DATABASE_URL", c.env)
		}
		var log rpctest.Buffer
		e := &daemon.Env{Name: "go.micro.srv.x", Config: daemon.Config{DatabaseURL: c.given, Logger: slog.New(slog.NewTextHandler(&log, nil))}}
		if url, err := e.DatabaseAt(); err != nil || url != "sqlite::memory:" {
			t.Errorf("%q, %v", url, err)
		}
		if out := log.String(); strings.Contains(out, "DATABASE_URL in the environment is not taken") != c.warns || strings.Contains(out, "secret") {
			t.Errorf("%+v: logged %q", c, out)
		}
	}
}
