package srv_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
)

func open(t *testing.T, rawURL string) routersrv.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), rawURL, sqlstore.Schema{Service: "router", Migrations: routersrv.Migrations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return routersrv.NewSQLStore(db)
}

func TestStore(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) {
		testStore(t, func(t *testing.T) routersrv.Store { return open(t, empty(t)) })
	})
}

func testStore(t *testing.T, newStore func(*testing.T) routersrv.Store) {
	t.Run("Sets", func(t *testing.T) { testSets(t, newStore(t)) })
	t.Run("Search", func(t *testing.T) { testSearch(t, newStore(t)) })
	t.Run("Limits", func(t *testing.T) { testLimits(t, newStore(t)) })
	t.Run("Writers", func(t *testing.T) { testWriters(t, newStore(t)) })
	t.Run("Load", func(t *testing.T) { testLoad(t, newStore(t)) })
}

func canary(id string) *pb.RuleSet {
	return &pb.RuleSet{Id: id, Service: "stock", Version: "2", Weight: 10, Priority: -1, Key: "Beta", Value: "é'\"%_"}
}

func testSets(t *testing.T, s routersrv.Store) {
	ctx := t.Context()
	rule, label := canary("one"), &pb.LabelSet{Id: "one", Service: "stock", Weight: 100, Key: "region", Value: "eu", Fallback: pb.LabelSet_NONE}
	for _, v := range []routersrv.Set{routersrv.RuleOf(rule), routersrv.LabelOf(label)} {
		if err := s.CreateSet(ctx, v); err != nil {
			t.Fatal(err)
		}
		if err := s.CreateSet(ctx, v); !errors.Is(err, rpcerr.ErrExists) {
			t.Errorf("created twice: %v", err)
		}
	}
	if got, err := s.ReadSet(ctx, routersrv.RuleKind, "one"); err != nil || !proto.Equal(got.Rule(), rule) {
		t.Errorf("rule: %v, %v", got, err)
	}
	if got, err := s.ReadSet(ctx, routersrv.LabelKind, "one"); err != nil || !proto.Equal(got.Label(), label) {
		t.Errorf("label: %v, %v", got, err)
	}
	rule.Weight, rule.Version = 0, ""
	for range 2 { // the second changes nothing and is not an error
		if err := s.UpdateSet(ctx, routersrv.RuleOf(rule)); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := s.ReadSet(ctx, routersrv.RuleKind, "one"); !proto.Equal(got.Rule(), rule) { // an error shows below
		t.Errorf("updated: %v", got)
	}
	if err := s.DeleteSet(ctx, routersrv.RuleKind, "one"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"read":        second(s.ReadSet(ctx, routersrv.RuleKind, "one")),
		"update":      s.UpdateSet(ctx, routersrv.RuleOf(rule)),
		"delete":      s.DeleteSet(ctx, routersrv.RuleKind, "one"),
		"letter case": s.DeleteSet(ctx, routersrv.LabelKind, "ONE"),
	} {
		if !errors.Is(err, rpcerr.ErrNotFound) {
			t.Errorf("%s of what is not there: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func testSearch(t *testing.T, s routersrv.Store) {
	ctx := t.Context()
	for _, r := range []*pb.RuleSet{
		{Id: "b", Service: "stock", Version: "1", Priority: 0}, {Id: "a", Service: "stock", Version: "2", Priority: 0},
		{Id: "c", Service: "stock", Version: "2", Priority: -5, Key: "beta"}, {Id: "d", Service: "Stock", Priority: 9},
	} {
		if err := s.CreateSet(ctx, routersrv.RuleOf(r)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		q    routersrv.Query
		want string
	}{
		"all":       {routersrv.RulesQuery("", "", "", 100, 0), "[c a b d]"},
		"service":   {routersrv.RulesQuery("stock", "", "", 100, 0), "[c a b]"},
		"version":   {routersrv.RulesQuery("stock", "2", "", 100, 0), "[c a]"},
		"key":       {routersrv.RulesQuery("", "", "beta", 100, 0), "[c]"},
		"page":      {routersrv.RulesQuery("", "", "", 2, 1), "[a b]"},
		"wildcard":  {routersrv.RulesQuery("%", "", "", 100, 0), "[]"},
		"injection": {routersrv.RulesQuery("' OR 1=1 --", "", "", 100, 0), "[]"},
	} {
		found, err := s.SearchSets(ctx, c.q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ids := []string{}
		for _, v := range found {
			ids = append(ids, v.Rule().Id)
		}
		if fmt.Sprint(ids) != c.want {
			t.Errorf("%s: %v, want %s", name, ids, c.want)
		}
	}
}

func testLimits(t *testing.T, s routersrv.Store) {
	ctx := t.Context()
	ratio := 0.0
	all := []*pb.LimitSet{{Service: "a", RequestsPerSecond: 0.5}, {Service: "b", Concurrency: 7, RetryRatio: &ratio}}
	for _, l := range all {
		if err := s.CreateLimit(ctx, l); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ReadLimit(ctx, l.Service); err != nil || !proto.Equal(got, l) {
			t.Errorf("read: %v, %v", got, err)
		}
	}
	if err := s.CreateLimit(ctx, all[0]); !errors.Is(err, rpcerr.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	all[0].RequestsPerSecond = 9
	if err := s.UpdateLimit(ctx, all[0]); err != nil {
		t.Fatal(err)
	}
	if got, err := s.SearchLimits(ctx, "", 10, 0); err != nil || len(got) != 2 || !proto.Equal(got[0], all[0]) || !proto.Equal(got[1], all[1]) {
		t.Errorf("search: %v, %v", got, err)
	}
	if got, err := s.SearchLimits(ctx, "", 10, 1); err != nil || len(got) != 1 || got[0].Service != "b" {
		t.Errorf("page: %v, %v", got, err)
	}
	if err := s.DeleteLimit(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"read": second(s.ReadLimit(ctx, "a")), "update": s.UpdateLimit(ctx, all[0]), "delete": s.DeleteLimit(ctx, "a"),
	} {
		if !errors.Is(err, rpcerr.ErrNotFound) {
			t.Errorf("%s of what is not there: %v", name, err)
		}
	}
}

// testWriters has many writers create the same rule: one wins, each success is
// counted as a change.
func testWriters(t *testing.T, s routersrv.Store) {
	before, err := s.Changes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for i := range 20 {
		wg.Go(func() { errs <- s.CreateSet(t.Context(), routersrv.RuleOf(canary(fmt.Sprint(i%4)))) })
	}
	wg.Wait()
	close(errs)
	created := 0
	for err := range errs {
		switch {
		case err == nil:
			created++
		case !errors.Is(err, rpcerr.ErrExists):
			t.Error(err)
		}
	}
	after, err := s.Changes(t.Context())
	if err != nil || created != 4 || after-before != 4 {
		t.Errorf("%d created, %d changes, %v", created, after-before, err)
	}
}

func testLoad(t *testing.T, s routersrv.Store) {
	for _, err := range []error{
		s.CreateSet(t.Context(), routersrv.RuleOf(&pb.RuleSet{Id: "late", Service: "stock", Priority: 5})),
		s.CreateSet(t.Context(), routersrv.RuleOf(&pb.RuleSet{Id: "early", Service: "stock"})),
		s.CreateSet(t.Context(), routersrv.RuleOf(&pb.RuleSet{Id: "other", Service: "shop"})),
		s.CreateSet(t.Context(), routersrv.LabelOf(&pb.LabelSet{Id: "eu", Service: "stock", Key: "region"})),
		s.CreateLimit(t.Context(), &pb.LimitSet{Service: "stock", RequestsPerSecond: 10, RetryRatio: proto.Float64(0.5)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, 1, fast(1)...)
	if err := w.Load(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	a, err := w.Answer("stock", caller(0), host(0), time.Now())
	if err != nil || len(a.Rules) != 2 || a.Rules[0].Id != "early" || a.Rules[1].Id != "late" || len(a.Labels) != 1 || a.RetryRatio != 0.5 || a.Share.RequestsPerSecond != 10 {
		t.Errorf("answer: %v, %v", a, err)
	}
}
