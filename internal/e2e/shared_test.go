package e2e_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	authsrv "github.com/micro/go-platform/auth/srv"
	configsrv "github.com/micro/go-platform/config/srv"
	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/srv"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
	routersrv "github.com/micro/go-platform/router/srv"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// keeper is a service that keeps tables.
type keeper struct {
	name string
	boot func() daemon.Bootable
}

func withTables() []keeper {
	return []keeper{
		{"auth", func() daemon.Bootable { return authsrv.New(authsrv.Config{}) }},
		{"config", func() daemon.Bootable { return configsrv.New() }},
		{"db", func() daemon.Bootable { return dbsrv.New() }},
		{"event", func() daemon.Bootable { return eventsrv.New() }},
		{"monitor", func() daemon.Bootable { return monitorsrv.New() }},
		{"router", func() daemon.Bootable { return routersrv.New() }},
		{"trace", func() daemon.Bootable { return tracesrv.New() }},
	}
}

// useDatabase starts a service on a database and stops it.
func useDatabase(t *testing.T, url string, k keeper) {
	t.Helper()
	net := rpctest.New(t)
	running := net.Boot(k.boot(), func(c *daemon.Config) { c.DatabaseURL = url })
	if k.name == "db" { // it opens a server's at its leisure
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
	for name, all := range map[string][]keeper{"forward": forward, "backward": backward} {
		t.Run(name, func(t *testing.T) {
			url := rpctest.MySQLURL(t)
			for range 2 {
				for _, k := range all {
					useDatabase(t, url, k)
				}
			}
		})
	}
}

// What the earlier release left each service goes on with, and another one finds
// room beside it.
func TestDatabasesOfTheEarlierRelease(t *testing.T) {
	for _, k := range withTables() {
		for engine, url := range map[string]string{"sqlite": "sqlite://" + filepath.Join(t.TempDir(), "x.db"), "mysql": rpctest.MySQLURL(t)} {
			t.Run(k.name+"/"+engine, func(t *testing.T) {
				useDatabase(t, url, k)
				makeOlder(t, url, k.name)
				for range 2 {
					useDatabase(t, url, k)
				}
				if engine == "sqlite" { // a file is one service's
					return
				}
				if k.name == "router" {
					execOn(t, url, `DROP TABLE changes`) // nobody's any more, but in config-srv's way
				}
				for _, other := range withTables() {
					useDatabase(t, url, other)
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
