package event_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/urfave/cli/v2"
	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/client/grpc"
	"go-micro.dev/v6/selector"
	"google.golang.org/grpc"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/eventtest"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

type opener = func(opts ...event.Option) event.Event

// boot returns events on a network with an event-srv on the database.
func boot(t testing.TB, url string) (*rpctest.Net, opener) {
	t.Helper()
	net := rpctest.New(t)
	net.Boot(eventsrv.Service(), func(c *daemon.Config) { c.DatabaseURL = url })
	return net, open(net)
}

func open(net *rpctest.Net) opener { return openBy(net, net.Client(rpctest.GRPC)) }

func openBy(net *rpctest.Net, c client.Client) opener {
	return func(opts ...event.Option) event.Event {
		return event.NewEvent(append([]event.Option{event.Client(c), event.Logger(net.Logger)}, opts...)...)
	}
}

func TestPlatformSQLite(t *testing.T) {
	t.Parallel()
	n := eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, "sqlite://"+filepath.Join(t.TempDir(), "event.db"))
		return open
	})
	eventtest.Run(t, n)
	eventtest.RunMixedTypes(t, n)
}

// A user's grpc client is used as it is, with go-micro's bounds of messages.
func TestPlatformWithAPlainClient(t *testing.T) {
	t.Parallel()
	eventtest.Run(t, eventtest.Sharing(func(t testing.TB) opener {
		net, _ := boot(t, "sqlite://"+filepath.Join(t.TempDir(), "event.db"))
		return openBy(net, plainClient(t, net))
	}))
}

// plainClient is go-micro's, but that its connections are closed.
func plainClient(t testing.TB, net *rpctest.Net) client.Client {
	t.Helper()
	sel := selector.NewSelector(selector.Registry(net.Registry))
	var conns sync.Map
	dial := mgrpc.DialOptions(
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, rsp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			conns.Store(cc, nil)
			return invoke(ctx, method, req, rsp, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			conns.Store(cc, nil)
			return open(ctx, desc, cc, method, opts...)
		}),
	)
	t.Cleanup(func() {
		conns.Range(func(cc, _ any) bool { _ = cc.(*grpc.ClientConn).Close(); return true }) // it only says that it is closed
		_ = sel.Close()                                                                      // the same
	})
	return mgrpc.NewClient(client.Selector(sel), client.Registry(net.Registry), client.Broker(net.Broker),
		client.WithLogger(microlog.New(net.Logger)), func(o *client.Options) { dial(&o.CallOptions) })
}

func TestPlatformMySQL(t *testing.T) {
	t.Parallel()
	eventtest.Run(t, eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, rpctest.MySQLURL(t, backend.Shared))
		return open
	}))
}

func TestPlatformPostgres(t *testing.T) {
	t.Parallel()
	eventtest.Run(t, eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, backend.Postgres(t, backend.Shared).URL)
		return open
	}))
}

func TestPlatformNATS(t *testing.T) {
	t.Parallel()
	server := backend.NATS(t)
	var count atomic.Int64
	n := eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, fmt.Sprint(server.URL, "/log", count.Add(1)))
		return open
	})
	eventtest.Run(t, n)
	eventtest.RunMixedTypes(t, n)
}

// briefly runs the suite on event-srv that keeps records for a second.
func briefly(t *testing.T, url func(t testing.TB) string) {
	var clients sync.Map // by test
	eventtest.RunRetention(t, eventtest.Sharing(func(t testing.TB) opener {
		net := rpctest.New(t)
		service := eventsrv.Service()
		for _, f := range service.Flags {
			if d, ok := f.(*cli.DurationFlag); ok && d.Name == "retention" {
				*d.Destination = time.Second
			}
		}
		net.Boot(service, func(c *daemon.Config) { c.DatabaseURL = url(t) })
		clients.Store(t, pb.NewEventService(event.ServiceName, net.Client(rpctest.GRPC)))
		return open(net)
	}), func(t testing.TB, last *event.Record) {
		client, _ := clients.Load(t)
		rpctest.Eventually(t, "the record expires", func() bool {
			rsp, err := client.(pb.EventService).CloudEvents(context.Background(), &pb.CloudEventsRequest{After: last.Sequence - 1, Limit: 1})
			return err == nil && !strings.Contains(string(rsp.Events), last.Id)
		})
	})
}

func TestPlatformRetentionOfSQLite(t *testing.T) {
	t.Parallel()
	briefly(t, func(t testing.TB) string { return "sqlite://" + filepath.Join(t.TempDir(), "event.db") })
}

func TestPlatformRetentionOfMySQL(t *testing.T) {
	t.Parallel()
	briefly(t, func(t testing.TB) string { return rpctest.MySQLURL(t, backend.Shared) })
}

func TestPlatformRetentionOfPostgres(t *testing.T) {
	t.Parallel()
	briefly(t, func(t testing.TB) string { return backend.Postgres(t, backend.Shared).URL })
}

func TestPlatformRetentionOfNATS(t *testing.T) {
	t.Parallel()
	server := backend.NATS(t)
	briefly(t, func(t testing.TB) string { return server.URL + "/" + strings.ReplaceAll(t.Name(), "/", "-") })
}

func TestPlatformOverRestartsOfMySQL(t *testing.T) {
	t.Parallel()
	server := backend.MySQL(t)
	dsn, err := mysql.ParseDSN(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	eventtest.RunRestart(t, eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, "mysql://"+dsn.User+"@"+dsn.Addr+"/"+dsn.DBName)
		return open
	}), server.Kill, server.Restart)
}

func TestPlatformOverRestartsOfPostgres(t *testing.T) {
	t.Parallel()
	server := backend.Postgres(t)
	eventtest.RunRestart(t, eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, server.URL)
		return open
	}), server.Kill, server.Restart)
}

func TestPlatformOverRestartsOfNATS(t *testing.T) {
	t.Parallel()
	server := backend.NATS(t)
	eventtest.RunRestart(t, eventtest.Sharing(func(t testing.TB) opener {
		_, open := boot(t, server.URL)
		return open
	}), server.Kill, server.Restart)
}
