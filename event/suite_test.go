package event_test

import (
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/eventtest"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	eventsrv "github.com/micro/go-platform/internal/srv/event"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

// boot returns events on a network with an event-srv on the database.
func boot(t *testing.T, url string) (*rpctest.Net, eventtest.Open) {
	t.Helper()
	net := rpctest.New(t)
	net.Boot(eventsrv.Service(), func(c *daemon.Config) { c.DatabaseURL = url })
	return net, open(net)
}

func open(net *rpctest.Net) eventtest.Open {
	c := net.Client(rpctest.GRPC)
	return func(opts ...event.Option) event.Event {
		return event.NewEvent(append([]event.Option{event.Client(c), event.Logger(net.Logger)}, opts...)...)
	}
}

func TestPlatformSQLite(t *testing.T) {
	eventtest.Run(t, func(t *testing.T) eventtest.Open {
		_, open := boot(t, "sqlite://"+filepath.Join(t.TempDir(), "event.db"))
		return open
	})
}

func TestPlatformMySQL(t *testing.T) {

	eventtest.Run(t, func(t *testing.T) eventtest.Open {
		_, open := boot(t, rpctest.MySQLURL(t, backend.Shared))
		return open
	})
}

func TestPlatformNATS(t *testing.T) {
	server := backend.NATS(t)
	n := 0
	eventtest.Run(t, func(t *testing.T) eventtest.Open {
		n++
		_, open := boot(t, server.URL+"/log"+string(rune('A'+n)))
		return open
	})
}

func TestPlatformOverRestartsOfMySQL(t *testing.T) {
	server := backend.MySQL(t)
	dsn, err := mysql.ParseDSN(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	eventtest.RunRestart(t, func(t *testing.T) eventtest.Open {
		_, open := boot(t, "mysql://"+dsn.User+"@"+dsn.Addr+"/"+dsn.DBName)
		return open
	}, server.Kill, server.Restart)
}

func TestPlatformOverRestartsOfNATS(t *testing.T) {
	server := backend.NATS(t)
	eventtest.RunRestart(t, func(t *testing.T) eventtest.Open {
		_, open := boot(t, server.URL)
		return open
	}, server.Kill, server.Restart)
}
