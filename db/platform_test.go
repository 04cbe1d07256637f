package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/recorder"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// The suite runs on every database in db/internal/srv; here it is the client's
// stack that differs.
func TestSuite(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		net.Boot(dbsrv.Service())
		c := net.Client(stack)
		dbtest.Run(t, func(_ testing.TB, opts ...db.Option) db.DB {
			return db.NewDB(append([]db.Option{db.Client(c)}, opts...)...)
		})
	})
}

func TestWithoutAService(t *testing.T) {
	net := rpctest.New(t)
	d := db.NewDB(db.Client(net.Client(rpctest.GRPC)), db.Timeout(time.Second))
	if err := d.Start(); err != nil {
		t.Fatalf("it waits for the service: %v", err)
	}
	defer d.Stop()
	if _, err := d.Read("a"); !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	net.Boot(dbsrv.Service())
	dbtest.Eventually(t, "it is found", func() bool {
		_, err := d.Read("a")
		return errors.Is(err, db.ErrNotFound)
	})
}

// Whatever stack the service of the user is on, a traced client means traced
// calls, as children of the span of the call's context.
func TestCallsAreTraced(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		net.Boot(dbsrv.Service())
		tr := recorder.NewTrace()
		d := db.NewDB(db.Client(trace.ClientWrapper(tr, &registry.Service{Name: "shop"})(net.Client(stack))))
		defer d.Stop()
		ctx, span := trace.Begin(t.Context(), tr, "order")
		if err := d.Create(db.NewRecord("a", nil, nil), db.WithContext(ctx)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Read("nobody", db.WithContext(ctx)); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		trace.End(tr, span, nil)
		var names []string
		for _, s := range tr.Spans() {
			if s.ParentId == span.Id {
				names = append(names, s.Name)
			}
		}
		if !slices.Equal(names, []string{"DB.Create", "DB.Read"}) {
			t.Errorf("spans %v below that of the order", names)
		}
	})
}

func TestHandlersFindTheDB(t *testing.T) {
	net := rpctest.New(t)
	d := db.NewDB(db.Client(net.Client(rpctest.GRPC)))
	defer d.Stop()
	e := net.Serve(rpctest.GRPC, "shop", server.WrapHandler(db.HandlerWrapper(d)))
	e.Forward = func(ctx context.Context) error {
		if got, ok := db.FromContext(ctx); !ok || got != d {
			return errors.New("no db in the context")
		}
		return nil
	}
	if _, err := echo.NewEchoService("shop", net.Client(rpctest.GRPC)).Call(t.Context(), &echo.Request{}); err != nil {
		t.Error(err)
	}
	seen := false
	next := db.SubscriberWrapper(d)(func(ctx context.Context, _ server.Message) error {
		_, seen = db.FromContext(ctx)
		return nil
	})
	if err := next(t.Context(), nil); err != nil || !seen {
		t.Error("a subscriber does not find it")
	}
	if _, ok := db.FromContext(t.Context()); ok {
		t.Error("found in an empty context")
	}
}

func TestRecordScan(t *testing.T) {
	r := db.NewRecord("a", nil, map[string]int{"n": 1})
	var v struct{ N int }
	var raw json.RawMessage
	var b []byte
	for _, to := range []any{&v, &raw, &b} {
		if err := r.Scan(to); err != nil {
			t.Fatal(err)
		}
	}
	if v.N != 1 || string(raw) != `{"n":1}` || string(b) != `{"n":1}` {
		t.Errorf("%v %s %s", v, raw, b)
	}
	b[0] = 'x'
	if r.Bytes()[0] != '{' {
		t.Error("Scan handed out the record's own bytes")
	}
	for _, r := range []db.Record{db.NewRecord("a", nil, nil), db.NewRecord("a", nil, []byte("{"))} {
		if err := r.Scan(&v); err == nil {
			t.Errorf("%q was scanned", r.Bytes())
		}
	}
	if r.Created() != 0 || r.Updated() != 0 || r.ETag() != "" || r.Id() != "a" {
		t.Error("a new record claims to be stored")
	}
}

func TestChange(t *testing.T) {
	c, err := db.ParseChange(`{"database":"d","table":"t","id":"a","action":"create","etag":"e","time":5,"metadata":{"i":9007199254740993,"f":1.5,"s":"x","b":true}}`)
	if err != nil || c.Metadata["i"] != int64(9007199254740993) || c.Metadata["f"] != 1.5 || c.Metadata["s"] != "x" || c.Metadata["b"] != true {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := db.ParseChange("{"); err == nil {
		t.Error("half a change was read")
	}
	if got := db.EventType("d", "t", "*"); got != "db.d.t.*" {
		t.Error(got)
	}
}

// The contract's calls, as they were written for the original.
func TestContract(t *testing.T) {
	var d db.DB = db.NewDB(db.Database("micro"), db.Table("micro"), db.Client(client.DefaultClient))
	var _ interface {
		Init(...db.Option) error
		Options() db.Options
		String() string
		Start() error
		Stop() error
	} = d
	for _, call := range []func(){
		func() { var _, _ = d.Read("id") },
		func() { _ = d.Create(db.NewRecord("id", db.Metadata{"k": "v"}, map[string]string{})) },
		func() { _ = d.Update(db.NewRecord("id", nil, nil)) },
		func() { _ = d.Delete("id") },
		func() { var _, _ = d.Search(db.Metadata{"k": "v"}, int64(10), int64(0)) },
	} {
		if call == nil {
			t.Error("compiling is the test")
		}
	}
	if d.String() != "platform" || !strings.HasPrefix(db.RegistryPrefix, "go.micro.db.") {
		t.Error("a name changed")
	}
}

func BenchmarkNewRecord(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		db.NewRecord("id", db.Metadata{"k": "v"}, struct{ N int }{1})
	}
}
