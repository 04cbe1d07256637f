package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpctest"
)

// told sums up what was reported: how often an account was allowed, or denied, a
// method by which rule.
func (w *world) told() (sums map[string]int64, dropped int64) {
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	sums = map[string]int64{}
	for _, r := range w.srv.reports {
		dropped += r.Dropped
		for _, d := range r.Decisions {
			if d.First == 0 || d.Last < d.First || d.Count <= 0 || d.Call.Service != "shop.orders" {
				w.t.Errorf("reported %v", d)
			}
			sums[fmt.Sprintf("%s %s %s %v", d.Call.Account, d.Call.Method, d.Rule, d.Allowed)] += d.Count
		}
	}
	return sums, dropped
}

func (w *world) reporting(every time.Duration, rules ...*pb.Rule) auth.Auth {
	w.t.Helper()
	w.srv.setRules(rules...)
	a := w.auth()
	auth.ReportEvery(a, every)
	if err := a.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.knows(a)
	return a
}

// What was decided is reported: denials all, allowed calls by a sample, and each
// kind of them at least once.
func TestDecisionsAreReported(t *testing.T) {
	w := newWorld(t).up()
	w.srv.deaf = 3 // what is not taken comes again
	a := w.reporting(20*time.Millisecond, &pb.Rule{Id: "ann", Effect: "allow", Accounts: []string{"ann"}}, &pb.Rule{Id: "no-guests", Effect: "deny", Accounts: []string{"guest"}})
	ann, guest, eve := w.issuer.Token("ann", nil), w.issuer.Token("guest", nil), w.issuer.Token("eve", nil)
	const denied, allowed = 50, 5_000
	for range denied {
		if _, err := authorize(a, guest); !errors.Is(err, auth.ErrForbidden) {
			t.Fatal(err)
		}
		if _, err := authorize(a, eve); !errors.Is(err, auth.ErrForbidden) {
			t.Fatal(err)
		}
	}
	for range allowed {
		if _, err := authorize(a, ann); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "reports are taken", func() bool {
		w.srv.mu.Lock()
		defer w.srv.mu.Unlock()
		return w.srv.deaf == 0
	})
	if err := a.Stop(); err != nil { // which tells the last
		t.Fatal(err)
	}
	sums, dropped := w.told()
	if sums["guest Orders.Place no-guests false"] != denied || sums["eve Orders.Place  false"] != denied || dropped != 0 {
		t.Errorf("%v, %d dropped", sums, dropped)
	}
	if n := sums["ann Orders.Place ann true"]; n < allowed/3 || n > allowed*3 {
		t.Errorf("%d allowed calls are reported as about %d", allowed, n)
	}
}

// Attack: a caller makes up methods. Reports stay small, and what is left out of
// them is counted.
func TestReportsAreBounded(t *testing.T) {
	w := newWorld(t).up()
	a := w.reporting(time.Hour, &pb.Rule{Id: "none", Effect: "deny"}) // the only report is that of Stop
	const methods = 10_000
	liar := w.issuer.Token("liar", nil)
	for i := range methods {
		ctx := a.NewContext(t.Context(), &auth.Token{AccessToken: liar})
		if _, err := a.Authorized(ctx, request{"shop.orders", fmt.Sprint("Made.Up", i)}); !errors.Is(err, auth.ErrForbidden) {
			t.Fatal(err)
		}
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	sums, dropped := w.told()
	for _, r := range w.srv.reports {
		if size := proto.Size(r); size > 10<<10 || len(r.Decisions) > 256 {
			t.Errorf("a report of %d decisions, %d bytes", len(r.Decisions), size)
		}
	}
	if dropped == 0 || len(sums) == 0 {
		t.Errorf("%d kinds are told, %d dropped", len(sums), dropped)
	}
}

// What was decided is remembered for no longer than the rules stay as they are.
func TestRememberedDecisionsFollowTheRules(t *testing.T) {
	w := newWorld(t).up()
	a := w.reporting(20*time.Millisecond, &pb.Rule{Id: "ann", Effect: "allow", Accounts: []string{"ann"}})
	ann := w.issuer.Token("ann", nil)
	for i := range 20 {
		for range 3 {
			if _, err := authorize(a, ann); err != nil {
				t.Fatal(err)
			}
		}
		w.srv.setRules(&pb.Rule{Id: fmt.Sprint("no-", i), Effect: "deny"})
		rpctest.Eventually(t, "it is denied", func() bool { _, err := authorize(a, ann); return errors.Is(err, auth.ErrForbidden) })
		w.srv.setRules(&pb.Rule{Id: "ann", Effect: "allow", Accounts: []string{"ann"}})
		rpctest.Eventually(t, "it is allowed", func() bool { _, err := authorize(a, ann); return err == nil })
	}
}

// A denial at a service is known to the admin, from the real auth-srv.
func TestDenialsOfServices(t *testing.T) {
	r := newReal(t)
	r.account("shop.orders")
	r.setRules(&pb.Rule{Id: "no-guests", Effect: "deny", Accounts: []string{"shop.guest"}}, &pb.Rule{Id: "friends", Effect: "allow", Accounts: []string{"shop.friend"}})
	a := auth.NewAuth(auth.Id("shop.orders"), auth.Secret("shop.orders secret"), auth.Client(r.Client(rpctest.GRPC)), auth.Logger(r.Logger))
	auth.ReportEvery(a, 50*time.Millisecond)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	for _, who := range []string{"shop.guest", "shop.friend", "shop.guest"} {
		token := r.accountFor(who, "shop.orders")
		rpctest.Eventually(t, "it is decided", func() bool { _, err := authorize(a, token); return err == nil || errors.Is(err, auth.ErrForbidden) })
	}
	rpctest.Eventually(t, "the denials are known", func() bool {
		rsp, err := r.policies.Denials(r.admin(), &pb.PolicyDenialsRequest{Service: "shop.orders"})
		if err != nil {
			t.Fatal(err)
		}
		return len(rsp.Denials) == 1 && rsp.Denials[0].Count == 2 && rsp.Denials[0].Rule == "no-guests" && rsp.Denials[0].Call.Account == "shop.guest"
	})
	rpctest.Eventually(t, "what a change would cut is known", func() bool {
		rsp, err := r.policies.Delete(r.admin(), &pb.PolicyDeleteRequest{Id: "friends", DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(rsp.Effects.Cuts, func(c *pb.Cut) bool {
			return c.Call.Account == "shop.friend" && c.Call.Service == "shop.orders" && c.Call.Method == "Orders.Place"
		})
	})
}
