package srv_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func boot(t *testing.T, flags map[string][]string, change ...func(*daemon.Config)) (*rpctest.Net, pb.DBService) {
	t.Helper()
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, flags), change...)
	return net, pb.NewDBService(db.ServiceName, net.Client(rpctest.GRPC))
}

func open(t *testing.T, net *rpctest.Net, opts ...db.Option) db.DB {
	t.Helper()
	d := db.NewDB(append([]db.Option{db.Client(net.Client(rpctest.GRPC)), db.Timeout(20 * time.Second)}, opts...)...)
	t.Cleanup(func() { _ = d.Stop() })
	return d
}

func text(s string) *pb.Value { return &pb.Value{Kind: &pb.Value_Text{Text: s}} }

func TestBadRequestsAreNamed(t *testing.T) {
	_, svc := boot(t, nil)
	ctx := t.Context()
	good := func() *pb.Record { return &pb.Record{Id: "a"} }
	for _, c := range []struct {
		call func() error
		want string
	}{
		{func() error { _, err := svc.Create(ctx, &pb.CreateRequest{}); return err }, "record: missing"},
		{func() error { _, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{}}); return err }, "record.id"},
		{func() error {
			_, err := svc.Create(ctx, &pb.CreateRequest{Record: good(), Database: &pb.Database{Name: "x;y"}})
			return err
		}, "database.name"},
		{func() error {
			_, err := svc.Create(ctx, &pb.CreateRequest{Record: good(), Database: &pb.Database{Table: "x'"}})
			return err
		}, "database.table"},
		{func() error {
			_, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{Id: "a", Bytes: make([]byte, db.MaxBytes+1)}})
			return err
		}, "record.bytes"},
		{func() error {
			_, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{Id: "a", Values: map[string]*pb.Value{"k": {}}}})
			return err
		}, "record.values"},
		{func() error { _, err := svc.Read(ctx, &pb.ReadRequest{}); return err }, "id"},
		{func() error { _, err := svc.Read(ctx, &pb.ReadRequest{Id: "x", Consistency: 9}); return err }, "consistency"},
		{func() error {
			_, err := svc.Update(ctx, &pb.UpdateRequest{Record: good(), Upsert: true, IfMatch: "x"})
			return err
		}, "upsert"},
		{func() error { _, err := svc.Delete(ctx, &pb.DeleteRequest{}); return err }, "id"},
		{func() error { _, err := svc.Search(ctx, &pb.SearchRequest{Limit: -1}); return err }, "limit"},
		{func() error { _, err := svc.Search(ctx, &pb.SearchRequest{Offset: -1}); return err }, "offset"},
		{func() error {
			_, err := svc.Search(ctx, &pb.SearchRequest{Conditions: []*pb.Condition{nil}})
			return err
		}, "conditions"},
		{func() error {
			_, err := svc.Search(ctx, &pb.SearchRequest{Conditions: []*pb.Condition{{Key: "k", Value: text("x"), Op: 99}}})
			return err
		}, "op"},
		{func() error {
			_, err := svc.Search(ctx, &pb.SearchRequest{Conditions: []*pb.Condition{{Key: "k"}}})
			return err
		}, "no value"},
		{func() error {
			_, err := svc.Search(ctx, &pb.SearchRequest{Order: "k", After: &pb.Cursor{Id: "x"}})
			return err
		}, "after.value"},
		{func() error {
			_, err := svc.Search(ctx, &pb.SearchRequest{After: &pb.Cursor{Id: strings.Repeat("x", 300)}})
			return err
		}, "after.id"},
	} {
		if err := c.call(); call.Code(err) != 400 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %.200v, want 400 with %q", err, c.want)
		}
	}
	if rsp, err := svc.Search(ctx, &pb.SearchRequest{}); err != nil || len(rsp.Records) != 0 {
		t.Errorf("bad requests left %v, %v", rsp, err)
	}
}

// A message of 100 MB is refused before anybody looks into it.
func TestHugeMessageIsRefused(t *testing.T) {
	_, svc := boot(t, nil)
	_, err := svc.Create(t.Context(), &pb.CreateRequest{Record: &pb.Record{Id: "a", Bytes: make([]byte, 100<<20)}})
	if err == nil {
		t.Fatal("100 MB were stored")
	}
	if _, err := svc.Create(t.Context(), &pb.CreateRequest{Record: &pb.Record{Id: "a"}}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// What the original go-platform sent: texts alone, and bytes in a string field,
// which is the same on the wire.
func TestOldPeers(t *testing.T) {
	_, svc := boot(t, nil)
	ctx := t.Context()
	if _, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{Id: "a", Metadata: map[string]string{"k": "1"}, Bytes: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	rsp, err := svc.Search(ctx, &pb.SearchRequest{Metadata: map[string]string{"k": "1"}})
	if err != nil || len(rsp.Records) != 1 || rsp.Records[0].Metadata["k"] != "1" || len(rsp.Records[0].Values) != 0 {
		t.Fatalf("%v, %v", rsp, err)
	}
	n := &pb.Value{Kind: &pb.Value_Integer{Integer: 7}}
	if _, err := svc.Update(ctx, &pb.UpdateRequest{Record: &pb.Record{Id: "a", Values: map[string]*pb.Value{"n": n}}}); err != nil {
		t.Fatal(err)
	}
	if read, err := svc.Read(ctx, &pb.ReadRequest{Id: "a"}); err != nil || read.Record.Metadata["n"] != "7" {
		t.Fatalf("numbers are shown as text to those that know no other: %v, %v", read, err)
	}
}

func TestLimitIsCapped(t *testing.T) {
	net, _ := boot(t, nil)
	d := open(t, net)
	for i := range db.MaxLimit + 1 {
		if err := d.Create(db.NewRecord(fmt.Sprintf("%05d", i), nil, nil)); err != nil {
			t.Fatal(err)
		}
	}
	var more bool
	found, err := d.Search(nil, 1<<40, 0, db.More(&more))
	if err != nil || len(found) != db.MaxLimit || !more {
		t.Errorf("%d records, more %v, %v", len(found), more, err)
	}
}

func TestTablesMayBeForbidden(t *testing.T) {
	dir := "sqlite://" + t.TempDir() + "/shop.db"
	net := rpctest.New(t)
	first := net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + dir}}))
	made := open(t, net, db.Database("shop"), db.Table("orders"))
	if err := made.Create(db.NewRecord("a", db.Metadata{"k": 1}, nil)); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	net, _ = boot(t, map[string][]string{"database": {"shop=" + dir}, "create_tables": {"false"}})
	d := open(t, net, db.Database("shop"), db.Table("orders"))
	if err := d.Create(db.NewRecord("b", db.Metadata{"k": 1}, nil)); err != nil {
		t.Errorf("a table that is there: %v", err)
	}
	err := d.Create(db.NewRecord("a", nil, nil), db.InTable("others"))
	if err == nil || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("a table that is not there: %v", err)
	}
	if _, err := d.Search(nil, 0, 0, db.InTable("others")); err != nil {
		t.Errorf("a search in it: %v", err)
	}
}

// More tables than are kept prepared, used side by side.
func TestManyTables(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"many=" + rpctest.MySQLURL(t)}}))
	d := open(t, net, db.Database("many"))
	const tables = 40
	errs := make(chan error, 8)
	for w := range 8 {
		go func() {
			for i := range 2 * tables {
				name := db.InTable(fmt.Sprintf("t%d", (i*7+w*5)%tables))
				if err := d.Create(db.NewRecord(fmt.Sprintf("%d/%d", w, i), db.Metadata{"w": w}, nil), name); err != nil {
					errs <- err
					return
				}
				if _, err := d.Search(db.Metadata{"w": w}, 0, 0, name); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestRecordsOutliveTheService(t *testing.T) {
	net := rpctest.New(t)
	dir := t.TempDir()
	onDisk := func(c *daemon.Config) { c.DataDir = dir }
	running := net.Boot(dbsrv.Service(), onDisk)
	d := open(t, net)
	if err := d.Create(db.NewRecord("a", nil, []byte("kept"))); err != nil {
		t.Fatal(err)
	}
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("a"); err == nil {
		t.Fatal("it reads without a service")
	}
	net.Boot(dbsrv.Service(), onDisk)
	dbtest.Eventually(t, "it reads again", func() bool {
		r, err := d.Read("a")
		return err == nil && string(r.Bytes()) == "kept"
	})
}

func TestStopDoesNotHang(t *testing.T) {
	net := rpctest.New(t)
	running := net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"away=mysql://u:p@127.0.0.1:1/x"}}))
	d := open(t, net, db.Database("away"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := d.Read("a", db.WithContext(ctx)); err == nil {
		t.Error("nothing listens there")
	}
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
}
