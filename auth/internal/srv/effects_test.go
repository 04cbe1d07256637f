package srv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// report reports decisions in the name of a service.
func (e *env) report(service string, dropped int64, decisions ...*pb.Decided) error {
	e.Helper()
	_, err := e.policy.Report(e.as(e.token(service, secretOf(service))), &pb.PolicyReportRequest{Decisions: decisions, Dropped: dropped}, e.here()...)
	return err
}

func seen(allowed bool, account, service, method string, ago time.Duration, roles ...string) *pb.Decided {
	at := time.Now().Add(-ago).Unix()
	return &pb.Decided{Call: &pb.Call{Account: account, Roles: roles, Service: service, Method: method}, Allowed: allowed, Count: 3, First: at - 5, Last: at}
}

// cuts returns who is cut, of which method.
func cuts(e *pb.Effects) (names []string) {
	for _, c := range e.GetCuts() {
		names = append(names, fmt.Sprintf("%s %s %d", c.Call.Account, c.Call.Method, c.Count))
	}
	return names
}

// A change tells which calls of the last hour it cuts.
func TestAChangeTellsWhatItCuts(t *testing.T) {
	e := start(t)
	e.people()
	for range 2 {
		if err := e.report("orders", 7, seen(true, "app", "orders", "Orders.Place", time.Minute), seen(true, "ann", "orders", "Orders.List", 0, "buyer"),
			seen(false, "ann", "orders", "Orders.Place", 0, "buyer")); err != nil {
			t.Fatal(err)
		}
	}
	create := func(r *pb.Rule, dry bool) *pb.Effects {
		t.Helper()
		rsp, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: r, DryRun: dry}, e.here()...)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.Effects
	}
	buyers := &pb.Rule{Id: "buyers", Effect: "allow", Roles: []string{"buyer"}, Services: []string{"orders"}}
	// The first rule closes what it does not allow.
	is := create(buyers, true)
	if got := cuts(is); !slices.Equal(got, []string{"app Orders.Place 6"}) || is.Total != 1 || is.Unknown != 14 {
		t.Errorf("the first rule: %v", is)
	}
	if c := is.Cuts[0]; !c.Before.Allowed || c.After.Allowed || c.Platform || c.Own || c.First == 0 || c.Last < c.First {
		t.Errorf("the cut: %v", c)
	}
	if _, err := e.policy.Read(e.admin(), &pb.PolicyReadRequest{Id: "buyers"}); code(err) != 404 {
		t.Errorf("a dry run has made a rule: %v", err)
	}
	if got := cuts(create(buyers, false)); !slices.Equal(got, []string{"app Orders.Place 6"}) {
		t.Errorf("made: %v", got)
	}
	buyers.Methods = []string{"Orders.Place"}
	cutsOfOthers(e, buyers)
	create(&pb.Rule{Id: "other", Effect: "allow", Services: []string{"other"}}, false)
	gone, err := e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: "buyers"})
	if err != nil || !slices.Equal(cuts(gone.Effects), []string{"ann Orders.List 6"}) {
		t.Errorf("delete: %v, %v", gone, err)
	}
	dryErrors(e, buyers)
}

// cutsOfOthers asks what updating and deleting the rule cuts.
func cutsOfOthers(e *env, buyers *pb.Rule) {
	e.Helper()
	up, err := e.policy.Update(e.admin(), &pb.PolicyUpdateRequest{Rule: buyers, DryRun: true})
	if err != nil || !slices.Equal(cuts(up.Effects), []string{"ann Orders.List 6"}) {
		e.Errorf("update: %v, %v", up, err)
	}
	gone, err := e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: "buyers", DryRun: true})
	if err != nil || len(gone.Effects.Cuts) != 0 {
		e.Errorf("without rules all may again: %v, %v", gone, err)
	}
}

// dryErrors tries what would fail.
func dryErrors(e *env, buyers *pb.Rule) {
	e.Helper()
	for _, err := range []error{
		second(e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: "buyers", DryRun: true})),
		second(e.policy.Update(e.admin(), &pb.PolicyUpdateRequest{Rule: buyers, DryRun: true})),
	} {
		if code(err) != 404 {
			e.Errorf("a dry run on what is not there: %v", err)
		}
	}
	if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: "other", Effect: "deny"}, DryRun: true}); code(err) != 409 {
		e.Errorf("a dry run of what is there: %v", err)
	}
}

// A change that cuts the platform's calls, or the caller's own, needs force.
func TestNobodyCutsThePlatformByAccident(t *testing.T) {
	e := start(t)
	e.people()
	enrolled, err := e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.event", Secret: bootstrap}, e.here()...)
	if err != nil {
		t.Fatal(err)
	}
	event := e.token(enrolled.Account.ClientId, enrolled.Account.ClientSecret)
	if err := e.report("orders", 0, seen(true, authsrv.AdminID, "orders", "Orders.List", 0, "admin"), seen(true, "go.micro.srv.monitor", "orders", "Debug.Health", 0, "platform")); err != nil {
		t.Fatal(err)
	}
	e.change(&pb.Rule{Id: "orders", Effect: "allow", Services: []string{"orders"}})
	// Seen at a service of the platform, by a method that no starting rule names.
	if _, err := e.policy.Report(e.as(event), &pb.PolicyReportRequest{Decisions: []*pb.Decided{seen(true, "go.micro.srv.monitor", "go.micro.srv.event", "Event.Create", 0, "platform")}}, e.here()...); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(force bool) error
		refused bool
	}{
		"a seen call of the platform": {func(force bool) error {
			return second(e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Force: force, Rule: &pb.Rule{Id: "x", Effect: "deny", Services: []string{"go.micro.srv.event"}, Methods: []string{"Event.Create"}}}))
		}, true},
		"the platform at users' services": {func(force bool) error {
			return second(e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Force: force, Rule: &pb.Rule{Id: "x", Effect: "deny", Roles: []string{"platform"}, Services: []string{"orders"}}}))
		}, true},
		"the admin's own": {func(force bool) error {
			return second(e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Force: force, Rule: &pb.Rule{Id: "x", Effect: "deny", Accounts: []string{"admin"}, Services: []string{"orders"}}}))
		}, true},
		"what nobody has called yet": {func(force bool) error {
			return second(e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Force: force, Rule: &pb.Rule{Id: "x", Effect: "deny", Services: []string{"go.micro.srv.config"}}}))
		}, true},
		"telemetry": {func(force bool) error {
			return second(e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Force: force, Id: "start-trace"}))
		}, true},
		"one account": {func(force bool) error {
			return second(e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Force: force, Rule: &pb.Rule{Id: "x", Effect: "deny", Accounts: []string{"ann"}}}))
		}, false},
	} {
		err := c.change(false)
		if refused := code(err) == 412 && strings.Contains(err.Error(), "force"); refused != c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if c.refused {
			if err := c.change(true); err != nil {
				t.Errorf("%s, with force: %v", name, err)
			}
		}
		if name != "telemetry" {
			e.change(&pb.Rule{Id: "x"})
		}
	}
}

// Denials are told to admins, the latest first, and cannot be made up about the
// services of others.
func TestDenials(t *testing.T) {
	e := start(t)
	e.people()
	for i := range 5 {
		d := seen(false, fmt.Sprint("guest-", i), "orders", "Orders.Place", time.Duration(i)*time.Minute)
		d.Rule = "no-guests"
		if err := e.report("orders", 0, d, seen(true, "ann", "orders", "Orders.List", 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.report("app", 2, seen(false, "guest-0", "app.kv", "KV.Get", 10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	list := func(req *pb.PolicyDenialsRequest) (names []string) {
		t.Helper()
		rsp, err := e.policy.Denials(e.admin(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range rsp.Denials {
			if d.Allowed || d.Count != 3 || d.First != d.Last-5 {
				t.Errorf("denial %v", d)
			}
			names = append(names, d.Call.Account+" "+d.Call.Service+" "+d.Rule)
		}
		return names
	}
	for _, c := range []struct {
		req  *pb.PolicyDenialsRequest
		want []string
	}{
		{&pb.PolicyDenialsRequest{Limit: 2}, []string{"guest-0 orders no-guests", "guest-1 orders no-guests"}},
		{&pb.PolicyDenialsRequest{Limit: 2, Offset: 4}, []string{"guest-4 orders no-guests", "guest-0 app.kv "}},
		{&pb.PolicyDenialsRequest{Account: "guest-0"}, []string{"guest-0 orders no-guests", "guest-0 app.kv "}},
		{&pb.PolicyDenialsRequest{Account: "guest-0", Service: "orders"}, []string{"guest-0 orders no-guests"}},
		{&pb.PolicyDenialsRequest{Account: "ann"}, nil},
	} {
		if got := list(c.req); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.req, got)
		}
	}
	if err := e.report("app", 0, seen(false, "ann", "orders", "Orders.Place", 0)); code(err) != 403 {
		t.Errorf("about another's service: %v", err)
	}
	if _, err := e.policy.Denials(e.as(e.token("orders", secretOf("orders"))), &pb.PolicyDenialsRequest{}); code(err) != 403 {
		t.Errorf("for a service: %v", err)
	}
	rsp, err := e.policy.Denials(e.admin(), &pb.PolicyDenialsRequest{Service: auth.ServiceName})
	if err != nil || len(rsp.Denials) != 1 || rsp.Denials[0].Call.Account != "orders" || rsp.Denials[0].Call.Method != "Policy.Denials" || rsp.Denials[0].Count == 0 {
		t.Errorf("what auth-srv denied itself: %v, %v", rsp, err)
	}
}

// Attack: a service, or a caller of it, makes up calls without end.
func TestDecisionsAreBounded(t *testing.T) {
	d := authsrv.NewDecisions()
	now := time.Now()
	for i := range 1_000 {
		d.Add("liar", now, seen(false, "ann", "orders", fmt.Sprint("Orders.M", i), 0))
	}
	if kept, lost := d.Count(now); kept != 128 || lost != 872 {
		t.Errorf("of one caller: %d kept, %d lost", kept, lost)
	}
	for i := range 10_000 {
		d.Add("liar", now, seen(true, fmt.Sprint("a", i), fmt.Sprint("liar.", i), "M.X", 0))
	}
	if kept, _ := d.Count(now); kept != 4_096 {
		t.Errorf("of one reporter: %d", kept)
	}
	for i := range 30_000 {
		d.Add(fmt.Sprint("r", i), now, seen(true, "a", fmt.Sprint("s", i), "M.X", 0))
	}
	if kept, _ := d.Count(now); kept != 20_000 {
		t.Errorf("in all: %d", kept)
	}
	bad := []*pb.Decided{
		nil, {}, seen(true, "a\x00", "s", "M.X", 0), seen(true, "a", "", "M.X", 0), seen(true, "a", "s", strings.Repeat("m", 300), 0),
		seen(true, "a", "s", "M.X", 0, strings.Repeat("r", 3_000)), seen(true, "a", "s", "M.X", 0, "two roles"),
	}
	fresh := authsrv.NewDecisions()
	fresh.Add("r", now, bad...)
	if kept, lost := fresh.Count(now); kept != 0 || lost != int64(len(bad)) {
		t.Errorf("nonsense: %d kept, %d lost", kept, lost)
	}
	fresh.Add("r", now, seen(true, "a", "s", "M.X", 0), seen(false, "a", "s", "M.Y", 0))
	for after, want := range map[time.Duration]int{30 * time.Minute: 2, 2 * time.Hour: 1, 25 * time.Hour: 0} {
		if kept, _ := fresh.Count(now.Add(after)); kept != want {
			t.Errorf("after %v: %d, want %d", after, kept, want)
		}
	}
	for i := range 200 {
		fresh.Add("r", now.Add(26*time.Hour), seen(false, "a", "s", fmt.Sprint("M.N", i), 0))
	}
	if kept, _ := fresh.Count(now.Add(26 * time.Hour)); kept != 128 {
		t.Errorf("what is over takes the room of what is new: %d", kept)
	}
	odd := seen(false, "a", "s", "M.X", -48*time.Hour)
	odd.First, odd.Count = -1, -1
	clock := authsrv.NewDecisions()
	if clock.Add("r", now, odd); clock.Latest(now).Last > now.Unix() || clock.Latest(now).Count != 1 || clock.Latest(now).First < now.Add(-time.Hour).Unix() {
		t.Errorf("a clock that is wrong: %v", clock.Latest(now))
	}
}

// Each start of auth-srv is an instance, and each leaves what it knew.
func TestDecisionsOfManyInstances(t *testing.T) {
	d, now := authsrv.NewDecisions(), time.Now()
	for instance := range 20 {
		reported := make([]*pb.Decided, 4_000)
		for i := range reported {
			reported[i] = seen(false, "guest", "shop", fmt.Sprint("Cart.M", i), time.Duration(20-instance)*time.Minute)
		}
		d.Learn(fmt.Sprint("start ", instance), now, reported...)
	}
	if kept, _ := d.Count(now); kept != 4_000 { // of the same calls
		t.Errorf("%d kinds of calls", kept)
	}
	if latest := d.Latest(now); latest.Count != 3*10 {
		t.Errorf("%d calls of ten instances that there is room for", latest.Count)
	}
}

// A row of a database has bounds: of what is too long the latest are saved.
func TestLongNamesAreSaved(t *testing.T) {
	all := make([]*pb.Decided, 4_096)
	for i := range all {
		all[i] = seen(false, "guest", "shop", "Cart."+strings.Repeat("m", 4_000), 0)
	}
	if n := authsrv.Fitting(all); n < 200 || n > 262 {
		t.Errorf("%d of 4 KB in a row", n)
	}
}

// What services reported to one instance is known to the other ones, and after a
// restart.
func TestDecisionsAreShared(t *testing.T) {
	rpctest.SharedDatabases(t, func(t *testing.T, url string) {
		n := rpctest.New(t)
		often := func(c *authsrv.Config, d *daemon.Config) {
			authsrv.Share(c, 50*time.Millisecond)
			c.Issuer, d.DatabaseURL = "https://auth.example", url
		}
		a, b := startOn(t, n, often), startOn(t, n, often)
		a.people()
		rpctest.Eventually(t, "b takes a's tokens", func() bool { return b.active(a.token("orders", secretOf("orders"))) })
		count := func(e *env) (n int64) {
			rsp, err := e.policy.Denials(e.admin(), &pb.PolicyDenialsRequest{}, e.here()...)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range rsp.Denials {
				n += d.Count
			}
			return n
		}
		for _, e := range []*env{a, b} {
			if err := e.report("orders", 0, seen(false, "guest", "orders", "Orders.Place", 0), seen(true, "ann", "orders", "Orders.List", 0)); err != nil {
				t.Fatal(err)
			}
		}
		rpctest.Eventually(t, "both know both", func() bool { return count(a) == 6 && count(b) == 6 })
		dry, err := b.policy.Create(b.admin(), &pb.PolicyCreateRequest{DryRun: true, Rule: &pb.Rule{Effect: "allow", Services: []string{"other"}}}, b.here()...)
		if err != nil || !slices.Equal(cuts(dry.Effects), []string{"ann Orders.List 6"}) {
			t.Errorf("b would cut %v, %v", dry, err)
		}
		if err := a.report("orders", 0, seen(false, "guest", "orders", "Orders.Place", 0)); err != nil {
			t.Fatal(err)
		}
		for _, e := range []*env{a, b} {
			if err := e.running.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		c := startOn(t, n, often)
		rpctest.Eventually(t, "what was reported before is known", func() bool { return count(c) == 9 })
	})
}

// BenchmarkEffects is what a rule cuts of all calls that can be kept: one about a
// service, and one about all.
func BenchmarkEffects(b *testing.B) {
	follower := authsrv.Follow(b, "sqlite::memory:", "https://auth.example")
	follower.Fill(b, many(9_000))
	d := authsrv.NewDecisions()
	for i := range 20_000 {
		d.Add(fmt.Sprint("r", i%1000), time.Now(), seen(true, fmt.Sprint("shop.caller-", i%250), fmt.Sprint("shop.service-", i%1000), fmt.Sprint("Orders.M", i/1000), 0))
	}
	for name, r := range map[string]*pb.Rule{
		"one service": {Id: "new", Effect: "deny", Services: []string{"shop.service-7"}, Accounts: []string{"shop.*"}},
		"all":         {Id: "new", Effect: "deny", Accounts: []string{"shop.*"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if follower.DryRun(b, d, r) == 0 {
					b.Fatal("nothing is cut")
				}
			}
		})
	}
}
