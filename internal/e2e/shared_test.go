package e2e_test

import (
	"errors"
	"slices"
	"testing"

	authsrv "github.com/micro/go-platform/auth/srv"
	configsrv "github.com/micro/go-platform/config/srv"
	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/srv"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
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
			rpctest.SharedDatabases(t, func(t *testing.T, url string) {
				for range 2 {
					for _, k := range all {
						useDatabase(t, url, k)
					}
				}
			})
		})
	}
}
