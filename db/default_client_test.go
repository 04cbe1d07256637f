package db_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	mgrpc "go-micro.dev/v6/client/grpc"
	"go-micro.dev/v6/selector"
	"google.golang.org/grpc"

	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/rpctest"
)

// What a page holds fits into what go-micro's own grpc client takes, 4 MiB,
// however much there is around the bytes of the records.
func TestPagesFitADefaultClient(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(dbsrv.Service())
	s := selector.NewSelector(selector.Registry(net.Registry))
	defer func() { _ = s.Close() }() // its cache is the test's
	var conns sync.Map               // which nobody else can close
	defer conns.Range(func(cc, _ any) bool { return cc.(*grpc.ClientConn).Close() == nil })
	see := grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, rsp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		conns.Store(cc, nil)
		return invoke(ctx, method, req, rsp, cc, opts...)
	})
	c := mgrpc.NewClient(client.Registry(net.Registry), client.Selector(s), client.Broker(net.Broker), client.ContentType("application/protobuf"),
		func(o *client.Options) { mgrpc.DialOptions(see)(&o.CallOptions) })
	large := func(i int) db.Record {
		return db.NewRecord(fmt.Sprintf("%04d", i), db.Metadata{"v": i}, make([]byte, db.MaxBytes))
	}
	many := func(i int) db.Record {
		md := db.Metadata{"v": i}
		for len(md) < db.MaxKeys { // a number costs more on its way than it counts
			md[strings.Repeat("k", 100)+fmt.Sprint(len(md))] = -1 << 62
		}
		return db.NewRecord(fmt.Sprintf("%04d", i), md, nil)
	}
	for name, x := range map[string]struct {
		records int
		make    func(int) db.Record
	}{"large": {6, large}, "many": {600, many}} {
		d := db.NewDB(db.Client(c), db.Table(name), db.Timeout(30*time.Second))
		for i := range x.records {
			if err := d.Create(x.make(i)); err != nil {
				t.Fatal(err)
			}
		}
		if found, err := d.Search(nil, db.MaxLimit, 0); err != nil || len(found) == 0 {
			t.Errorf("%s: a page of %d, %v", name, len(found), err)
		}
		got := 0
		for _, err := range db.Each(d, nil, db.OrderBy("v")) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			got++
		}
		if got != x.records {
			t.Errorf("%s: %d of %d", name, got, x.records)
		}
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	}
}
