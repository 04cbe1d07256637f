package srv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/event"
	eventpb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// events stands for event-srv: it knows ids it has seen, and can be made to
// answer nothing after it has stored the records.
type events struct {
	eventpb.EventHandler

	mu         sync.Mutex
	records    []*eventpb.Record
	duplicates int
	silent     int // calls to carry out without an answer
	refuse     string
}

func (e *events) Create(_ context.Context, req *eventpb.CreateRequest, rsp *eventpb.CreateResponse) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range req.Records {
		result := &eventpb.Result{}
		switch {
		case e.refuse != "" && strings.Contains(r.Data, e.refuse):
			result.Error = "refused"
		case slices.ContainsFunc(e.records, func(known *eventpb.Record) bool { return known.Id == r.Id }):
			e.duplicates++
			result.Duplicate = true
		default:
			e.records = append(e.records, r)
		}
		rsp.Results = append(rsp.Results, result)
	}
	if e.silent > 0 {
		e.silent--
		return errors.New("the answer is lost")
	}
	return nil
}

func (e *events) all() (types []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.records {
		types = append(types, r.Type)
	}
	return types
}

// serve begins to answer as event-srv.
func (e *events) serve(t *testing.T, net *rpctest.Net) {
	t.Helper()
	s := net.Server(rpctest.GRPC, event.ServiceName)
	if err := eventpb.RegisterEventHandler(s, e); err != nil {
		t.Fatal(err)
	}
	net.Start(s)
}

func testEvents(t *testing.T, url string) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + url}}))
	table := dbtest.NewName("orders")
	quiet := open(t, net, db.Database("shop"), db.Table(table))
	d := open(t, net, db.Database("shop"), db.Table(table), db.Events(true))

	// event-srv is not there yet, and the first answers are lost: nothing is.
	var r db.Record
	must(t, d.Create(db.NewRecord("a", db.Metadata{"n": 1, "s": "x", "f": 1.5, "b": true}, []byte("data")), db.Returning(&r)))
	must(t, d.Update(db.NewRecord("a", nil, nil), db.IfMatch(r.ETag())))
	must(t, d.Update(db.NewRecord("b", nil, nil), db.Upsert()))
	must(t, d.Delete("a"))
	must(t, quiet.Create(db.NewRecord("quiet", nil, nil)))
	// What did not take place is not told.
	for want, err := range map[error]error{
		db.ErrExists:   d.Create(db.NewRecord("b", nil, nil)),
		db.ErrConflict: d.Update(db.NewRecord("b", nil, nil), db.IfMatch("x")),
		db.ErrNotFound: d.Delete("nobody"),
	} {
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	e := &events{silent: 2}
	e.serve(t, net)
	prefix := "db.shop." + table + "."
	dbtest.Eventually(t, "the changes arrive", func() bool { return len(e.all()) >= 4 })
	if got, want := e.all(), []string{prefix + "create", prefix + "update", prefix + "create", prefix + "delete"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	dbtest.Eventually(t, "it is sent again until it is answered", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.silent == 0 && e.duplicates > 0
	})
	first, last := e.records[0], e.records[3]
	c, err := db.ParseChange(first.Data)
	must(t, err)
	if c.Database != "shop" || c.Table != table || c.Id != "a" || c.Action != db.Created || c.ETag != r.ETag() || c.Time != r.Created() {
		t.Errorf("the first tells %+v", c)
	}
	if m := c.Metadata; m["n"] != int64(1) || m["s"] != "x" || m["f"] != 1.5 || m["b"] != true {
		t.Errorf("metadata %#v", m)
	}
	if c, err = db.ParseChange(last.Data); err != nil || c.ETag != "" || c.Metadata != nil || last.Key != first.Key {
		t.Errorf("the last tells %+v, %v", c, err)
	}
	poison(t, d, e)
}

// poison makes a change that event-srv refuses: it is in nobody's way.
func poison(t *testing.T, d db.DB, e *events) {
	t.Helper()
	e.mu.Lock()
	e.refuse = "poison"
	e.mu.Unlock()
	must(t, d.Create(db.NewRecord("poison", nil, nil)))
	for i := range 250 { // more than are sent at once
		must(t, d.Create(db.NewRecord(fmt.Sprint(i), nil, nil)))
	}
	dbtest.Eventually(t, "all others arrive", func() bool { return len(e.all()) == 254 })
	var order []string
	for _, r := range e.records[4:] {
		c, err := db.ParseChange(r.Data)
		must(t, err)
		order = append(order, c.Id)
	}
	for i, id := range order {
		if id != fmt.Sprint(i) {
			t.Fatalf("out of order: %v", order)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) { testEvents(t, empty(t)) })
}

func TestEventsWithoutOutbox(t *testing.T) {
	testEvents(t, "opensearch://"+backend.OpenSearch(t, backend.Shared).Addr+"/shop")
}

func TestEveryChangeIsPublishedOnDemand(t *testing.T) {
	net := rpctest.New(t)
	e := &events{}
	e.serve(t, net)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"events": {"true"}}))
	must(t, open(t, net).Create(db.NewRecord("a", nil, nil)))
	dbtest.Eventually(t, "it arrives", func() bool { return len(e.all()) == 1 })
}

// What a service left in its outbox another one publishes.
func TestOutboxOutlivesTheService(t *testing.T) {
	net, flags := rpctest.New(t), map[string][]string{"database": {"shop=sqlite://" + t.TempDir() + "/shop.db"}}
	running := net.Boot(dbsrv.With(t, nil, flags))
	d := open(t, net, db.Database("shop"), db.Events(true))
	must(t, d.Create(db.NewRecord("a", nil, nil)))
	must(t, running.Stop())
	e := &events{}
	e.serve(t, net)
	net.Boot(dbsrv.With(t, nil, flags))
	dbtest.Eventually(t, "it arrives", func() bool { return len(e.all()) == 1 })
}
