package e2e_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
	authsrv "github.com/micro/go-platform/internal/srv/auth"
	configsrv "github.com/micro/go-platform/internal/srv/config"
	dbsrv "github.com/micro/go-platform/internal/srv/db"
	eventsrv "github.com/micro/go-platform/internal/srv/event"
	monitorsrv "github.com/micro/go-platform/internal/srv/monitor"
	routersrv "github.com/micro/go-platform/internal/srv/router"
	tracesrv "github.com/micro/go-platform/internal/srv/trace"
)

// withTables are the services that keep tables.
func withTables() []func() daemon.Service {
	return []func() daemon.Service{
		func() daemon.Service { return authsrv.New(authsrv.Config{}) },
		configsrv.Service, dbsrv.Service, eventsrv.Service, monitorsrv.Service, routersrv.Service, tracesrv.Service,
	}
}

// useDatabase starts a service on a database and stops it.
func useDatabase(t *testing.T, url string, s daemon.Service) {
	t.Helper()
	net := rpctest.New(t)
	running := net.Boot(s, func(c *daemon.Config) { c.DatabaseURL = url })
	if s.Name == db.ServiceName { // it opens a server's at its leisure
		d := db.NewDB(db.Client(net.Client(rpctest.GRPC)))
		if _, err := d.Read("x"); !errors.Is(err, db.ErrNotFound) {
			t.Error(err)
		}
		_ = d.Stop() // it cannot fail
	}
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
}

// All services can share a database, whichever came first.
func TestServicesShareADatabase(t *testing.T) {
	forward, backward := withTables(), withTables()
	slices.Reverse(backward)
	for name, all := range map[string][]func() daemon.Service{"forward": forward, "backward": backward} {
		t.Run(name, func(t *testing.T) {
			url := rpctest.MySQLURL(t)
			for range 2 {
				for _, s := range all {
					useDatabase(t, url, s())
				}
			}
		})
	}
}

// What the earlier release left each service goes on with, and another one finds
// room beside it.
func TestDatabasesOfTheEarlierRelease(t *testing.T) {
	for _, s := range withTables() {
		name := strings.TrimPrefix(s().Name, "go.micro.srv.")
		for engine, url := range map[string]string{"sqlite": "sqlite://" + filepath.Join(t.TempDir(), "x.db"), "mysql": rpctest.MySQLURL(t)} {
			t.Run(name+"/"+engine, func(t *testing.T) {
				useDatabase(t, url, s())
				makeOlder(t, url, name)
				for range 2 {
					useDatabase(t, url, s())
				}
				if engine == "sqlite" { // a file is one service's
					return
				}
				if name == "router" {
					execOn(t, url, `DROP TABLE changes`) // nobody's any more, but in config-srv's way
				}
				for _, other := range withTables() {
					useDatabase(t, url, other())
				}
			})
		}
	}
}

// makeOlder makes the tables of a service those of the earlier release, which
// recorded the versions of all services in one table.
func makeOlder(t *testing.T, url, service string) {
	t.Helper()
	statements := []string{fmt.Sprintf(`ALTER TABLE micro_%s_version RENAME TO goose_db_version`, service)}
	switch service {
	case "router":
		statements = append(statements, `DELETE FROM goose_db_version WHERE version_id = 2`, `ALTER TABLE router_changes RENAME TO changes`)
	case "db":
		statements = append(statements, `ALTER TABLE micro_db_outbox RENAME TO outbox`)
	}
	execOn(t, url, statements...)
}

func execOn(t *testing.T, url string, statements ...string) {
	t.Helper()
	d, err := sqlstore.Open(t.Context(), url, sqlstore.Schema{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range statements {
		if _, err := d.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
