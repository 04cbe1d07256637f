package srv_test

import (
	"slices"
	"testing"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
)

func ids(rules *pb.Rules) (found []string) {
	for _, r := range rules.GetRules() {
		if !r.Starting {
			found = append(found, r.Id)
		}
	}
	slices.Sort(found)
	return found
}

// Attack: any account reads all rules. A watcher is told those about its own
// services, and only when these change.
func TestWatchersAreToldTheirOwnRules(t *testing.T) {
	e := start(t)
	e.people()
	put := func(rules ...*pb.Rule) {
		t.Helper()
		for _, r := range rules {
			r.Effect = "allow"
			if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: r}, e.here()...); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(&pb.Rule{Id: "orders", Services: []string{"orders"}}, &pb.Rule{Id: "all", Methods: []string{"Health.*"}},
		&pb.Rule{Id: "stock", Services: []string{"stock"}}, &pb.Rule{Id: "name", Services: []string{"name:stock"}, Accounts: []string{"app"}})
	first := func(token string, services ...string) (pb.Policy_WatchService, *pb.WatchResponse, error) {
		t.Helper()
		s, err := e.policy.Watch(e.as(token), &pb.WatchRequest{Services: services}, e.here()...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() }) // the test is over
		m, err := s.Recv()
		return s, m, err
	}
	mine := func(id string) string { return e.token(id, secretOf(id)) }
	for name, c := range map[string]struct {
		token    string
		services []string
		want     []string
		code     int32
	}{
		"its own":             {mine("orders"), []string{"orders"}, []string{"all", "orders"}, 0},
		"its own, not named":  {mine("orders"), nil, []string{"all", "orders"}, 0},
		"one that it may not": {mine("orders"), []string{"stock"}, nil, 403},
		"one among its own":   {mine("orders"), []string{"orders", "stock"}, nil, 403},
		"one that is granted": {mine("app"), []string{"stock"}, []string{"all", "name", "stock"}, 0},
		"a user":              {mine("ann"), nil, []string{"all"}, 0},
		"the admin":           {e.token(authsrv.AdminID, adminSecret), nil, []string{"all", "name", "orders", "stock"}, 0},
	} {
		_, m, err := first(c.token, c.services...)
		if call.Code(err) != c.code || c.code == 0 && (!slices.Equal(ids(m.Rules), c.want) || !m.Rules.Closed) {
			t.Errorf("%s: %v, closed %v, %v, want %v", name, ids(m.GetRules()), m.GetRules().GetClosed(), err, c.want)
		}
	}
	s, _, err := first(mine("orders"), "orders")
	if err != nil {
		t.Fatal(err)
	}
	put(&pb.Rule{Id: "stock-2", Services: []string{"stock"}}, &pb.Rule{Id: "orders-2", Services: []string{"orders"}})
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.Rules == nil {
			continue
		}
		if got := ids(m.Rules); !slices.Equal(got, []string{"all", "orders", "orders-2"}) {
			t.Errorf("told of %v", got)
		}
		break
	}
}

// A watcher is told no rules of a service any more whose name it was granted by a
// rule that is gone.
func TestAWatcherLosesWhatItWasGranted(t *testing.T) {
	e := start(t)
	e.people()
	e.change(&pb.Rule{Id: "grant", Effect: "allow", Services: []string{"name:stock"}, Accounts: []string{"app"}})
	s, err := e.policy.Watch(e.as(e.token("app", secretOf("app"))), &pb.WatchRequest{Services: []string{"stock"}, Differences: true}, e.here()...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // the test is over
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	e.change(&pb.Rule{Id: "grant"})
	for {
		m, err := s.Recv()
		if err != nil {
			if call.Code(err) != 403 {
				t.Errorf("it ends with %v", err)
			}
			return
		}
		if m.Changes != nil {
			t.Fatalf("told %v", m)
		}
	}
}
