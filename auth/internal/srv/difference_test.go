package srv_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// change makes, replaces or, if it has no effect, deletes a rule.
func (e *env) change(r *pb.Rule) {
	e.Helper()
	var err error
	switch {
	case r.Effect == "":
		_, err = e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: r.Id, Force: true}, e.here()...)
	default:
		if _, err = e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: r, Force: true}, e.here()...); code(err) == 409 {
			_, err = e.policy.Update(e.admin(), &pb.PolicyUpdateRequest{Rule: r, Force: true}, e.here()...)
		}
	}
	if err != nil {
		e.Fatal(err)
	}
}

// follow watches the rules of orders and returns what reads the next message that
// is about rules.
func (e *env) follow(ctx context.Context, known string) func() *pb.WatchResponse {
	e.Helper()
	s, err := e.policy.Watch(ctx, &pb.WatchRequest{Services: []string{"orders"}, Differences: true, Known: known}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = s.Close() }) // the test is over
	return func() *pb.WatchResponse {
		e.Helper()
		for {
			m, err := s.Recv()
			if err != nil {
				e.Fatal(err)
			}
			if m.Rules != nil || m.Changes != nil {
				return m
			}
		}
	}
}

func put(m *pb.WatchResponse) []string { return ids(&pb.Rules{Rules: m.GetChanges().GetPut()}) }

// A changed rule is told as that rule, and who comes back with what it knows is
// told what changed meanwhile, also by a server that was started anew.
func TestDifferences(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "auth.db")
	e := start(t, on(url), func(c *authsrv.Config, _ *daemon.Config) { c.Issuer = "https://auth.example" })
	e.people()
	for i := range 20 {
		e.change(&pb.Rule{Id: fmt.Sprint("r", i), Effect: "allow", Services: []string{"orders"}, Accounts: []string{fmt.Sprint("a", i)}})
	}
	e.change(&pb.Rule{Id: "stock", Effect: "allow", Services: []string{"stock"}})
	orders := e.as(e.token("orders", secretOf("orders")))
	next := e.follow(orders, "")
	first := next()
	if !first.Reset_ || len(ids(first.Rules)) != 20 || first.Position == "" {
		t.Fatalf("first %v", first)
	}
	e.change(&pb.Rule{Id: "stock-2", Effect: "allow", Services: []string{"stock"}}) // nobody here is told
	e.change(&pb.Rule{Id: "r0", Effect: "deny", Services: []string{"orders"}, Accounts: []string{"a0"}})
	m := next()
	if m.Reset_ || m.Rules != nil || !slices.Equal(put(m), []string{"r0"}) || len(m.Changes.Remove) > 0 || !m.Changes.Closed || m.Position == first.Position {
		t.Errorf("a changed rule: %v", m)
	}
	m = moves(e, next)
	known := m.Position
	e.change(&pb.Rule{Id: "r3"})
	e.change(&pb.Rule{Id: "new", Effect: "allow", Services: []string{"*"}})
	e.back(orders, "a stream begins again", known)
	admin := e.token(authsrv.AdminID, adminSecret)
	if m := e.followAll(admin, known); !m.Reset_ {
		t.Error("the position of one view is taken for that of another")
	}
	if err := e.running.Stop(); err != nil {
		t.Fatal(err)
	}
	e = startOn(t, e.net, on(url), func(c *authsrv.Config, _ *daemon.Config) { c.Issuer = "https://auth.example" })
	e.back(orders, "the server was started anew", known)
}

// moves takes rules out of the view of orders and returns the last message.
func moves(e *env, next func() *pb.WatchResponse) *pb.WatchResponse {
	e.Helper()
	e.change(&pb.Rule{Id: "r1", Effect: "allow", Services: []string{"stock"}})
	m := next()
	if len(put(m)) > 0 || !slices.Equal(m.Changes.Remove, []string{"r1"}) {
		e.Errorf("a rule that is about another service now: %v", m)
	}
	e.change(&pb.Rule{Id: "r2"})
	if m = next(); len(put(m)) > 0 || !slices.Equal(m.Changes.Remove, []string{"r2"}) {
		e.Errorf("a deleted rule: %v", m)
	}
	return m
}

// back watches as somebody who knows the rules as they were before r3 went and
// new came.
func (e *env) back(orders context.Context, what, known string) {
	e.Helper()
	m := e.follow(orders, known)()
	if m.Reset_ || m.Rules != nil || !slices.Equal(put(m), []string{"new"}) || !slices.Equal(m.Changes.Remove, []string{"r3"}) || len(m.Jwks) == 0 || m.Issuer == "" {
		e.Errorf("%s: %v", what, m)
	}
	for _, other := range []string{"1.x.y", "garbage", strings.Replace(known, known[len(known)-24:], strings.Repeat("A", 24), 1), strings.Repeat("9", 30) + known} {
		if m := e.follow(orders, other)(); !m.Reset_ || len(ids(m.Rules)) != 18 {
			e.Errorf("%s: with a position of somewhere else: %v", what, m)
		}
	}
}

func (e *env) followAll(token, known string) *pb.WatchResponse {
	e.Helper()
	s, err := e.policy.Watch(e.as(token), &pb.WatchRequest{Differences: true, Known: known}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = s.Close() }) // the test is over
	m, err := s.Recv()
	if err != nil {
		e.Fatal(err)
	}
	return m
}

// A watcher that wants JSON is not sent bytes that were encoded for others.
func TestWatchInJSON(t *testing.T) {
	e := start(t)
	req := e.net.Client(rpctest.GRPC)
	s, err := req.Stream(e.admin(), req.NewRequest(auth.ServiceName, "Policy.Watch", nil, client.WithContentType("application/grpc+json"), client.StreamingRequest()), e.here()...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // the test is over
	if err := s.Send(&pb.WatchRequest{Differences: true}); err != nil {
		t.Fatal(err)
	}
	var m pb.WatchResponse
	if err := s.Recv(&m); err != nil || !m.Reset_ || len(m.Rules.GetRules()) == 0 {
		t.Errorf("%v, %v", &m, err)
	}
}

// many rules of a platform of 1 000 services, which call each other.
func many(n int) []*pb.Rule {
	rules := make([]*pb.Rule, n)
	for i := range rules {
		rules[i] = &pb.Rule{
			Id: fmt.Sprintf("rule-%05d", i), Effect: "allow", Accounts: []string{fmt.Sprintf("shop.caller-%d", i%250)},
			Services: []string{fmt.Sprintf("shop.service-%d", i%1000)}, Methods: []string{"Orders.*"},
		}
	}
	return rules
}

// One rule among 10 000, told to 1 000 watchers: bytes, time and processor, as
// differences and as all rules encoded for each.
func TestARuleAmongMany(t *testing.T) {
	const watchers, rules = 1_000, 10_000 - 10
	follower := authsrv.Follow(t, "sqlite::memory:", "https://auth.example")
	follower.Fill(t, many(rules))
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		name        string
		account     func(i int) string
		service     string
		told        int64
		differences bool
	}{
		{"each its own, a rule of one", func(i int) string { return fmt.Sprintf("shop.service-%d", i) }, "shop.service-7", 1, true},
		{"each its own, a rule of all", func(i int) string { return fmt.Sprintf("shop.service-%d", i) }, "shop.*", watchers, true},
		{"all rules, a rule of all", func(int) string { return authsrv.AdminID }, "*", watchers, true},
		{"each its own, watchers of before", func(i int) string { return fmt.Sprintf("shop.service-%d", i) }, "shop.*", watchers, false},
	} {
		ctx, end := context.WithCancel(ctx)
		crowd := follower.Crowd()
		for i := range watchers {
			crowd.Watch(ctx, c.account(i), c.differences)
		}
		rpctest.Eventually(t, "all know the rules", func() bool { return crowd.Messages.Load() >= watchers })
		whole := crowd.Bytes.Load()
		crowd.Messages.Store(0)
		crowd.Bytes.Store(0)
		began := time.Now()
		follower.Put(t, &pb.Rule{Id: c.name, Effect: "allow", Accounts: []string{"shop.new"}, Services: []string{c.service}})
		rpctest.Eventually(t, "all who want are told", func() bool { return crowd.Messages.Load() >= c.told })
		took := time.Since(began)
		bytes := crowd.Bytes.Load()
		t.Logf("%s: first %d kB; the rule: %d messages, %d bytes, after %v", c.name, whole>>10, crowd.Messages.Load(), bytes, took)
		if c.differences && bytes > 400*watchers {
			t.Errorf("%s: one rule took %d bytes", c.name, bytes)
		}
		end()
		crowd.Wait(t)
	}
	cancel()
	before(t, many(rules), watchers)
}

// before says what it costs to encode all rules for each watcher, as was done.
func before(t *testing.T, rules []*pb.Rule, watchers int) {
	t.Helper()
	const some = 20
	m, size := &pb.WatchResponse{Rules: &pb.Rules{Rules: rules}}, 0
	began := time.Now()
	for range some {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		size += len(data)
	}
	times := watchers / some
	t.Logf("all rules, encoded for each of %d (from %d of them): %d MB, %v", watchers, some, size*times>>20,
		time.Since(began)*time.Duration(times))
}

// While rules are loaded, watchers are told of many at a time, and of all in the
// end.
func TestWatchersArePaced(t *testing.T) {
	const watchers, rules = 500, 300
	follower := authsrv.Follow(t, "sqlite::memory:", "https://auth.example")
	ctx, cancel := context.WithCancel(t.Context())
	crowd := follower.Crowd()
	for range watchers {
		crowd.Watch(ctx, "shop", true)
	}
	rpctest.Eventually(t, "all know the rules", func() bool { return crowd.Messages.Load() >= watchers })
	began := time.Now()
	for i := range rules {
		follower.Put(t, &pb.Rule{Id: fmt.Sprint("r", i), Effect: "allow"})
	}
	took := time.Since(began)
	rpctest.Eventually(t, "the last rule is told", func() bool { return crowd.Last.Load() == rules*watchers })
	sent := crowd.Messages.Load() - watchers
	t.Logf("%d rules to %d watchers within %v: %d messages", rules, watchers, took, sent)
	if most := watchers * (2 + int64(time.Since(began)/(20*time.Millisecond))); sent > most {
		t.Errorf("%d messages, more than %d", sent, most)
	}
	cancel()
	crowd.Wait(t)
}

// BenchmarkRule is one more rule for a database of so many, written, read back
// and ready to be told.
func BenchmarkRule(b *testing.B) {
	for _, n := range []int{100, 1_000, 9_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			follower := authsrv.Follow(b, "sqlite://"+filepath.Join(b.TempDir(), "auth.db"), "https://auth.example")
			follower.Fill(b, many(n))
			r := &pb.Rule{Id: "one more", Effect: "allow", Services: []string{"shop"}}
			for b.Loop() {
				follower.Put(b, proto.CloneOf(r))
				b.StopTimer()
				follower.Delete(b, r.Id)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkLoad is so many rules, one after the other.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				follower := authsrv.Follow(b, "sqlite::memory:", "https://auth.example")
				rules := many(n)
				b.StartTimer()
				for _, r := range rules {
					follower.Put(b, r)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/rule")
		})
	}
}

// Writing a rule costs about the same whether there are few or many.
func TestWritingARuleIsNotLinear(t *testing.T) {
	cost := func(n int) time.Duration {
		follower := authsrv.Follow(t, "sqlite::memory:", "https://auth.example")
		follower.Fill(t, many(n))
		best := time.Hour
		for i := range 60 {
			began := time.Now()
			follower.Put(t, &pb.Rule{Id: fmt.Sprint("new", i), Effect: "allow", Services: []string{"shop"}})
			best = min(best, time.Since(began))
		}
		return best
	}
	few, lots := cost(100), cost(9_900)
	t.Logf("the 100th rule: %v, the 10 000th: %v", few, lots)
	if lots > 5*few {
		t.Errorf("the 10 000th rule took %.1f times as long as the 100th", float64(lots)/float64(few))
	}
}

// Changes are forgotten after an hour: who was away for longer, a watcher or an
// instance, is told all rules.
func TestForgottenChanges(t *testing.T) {
	rpctest.Databases(t, func(t *testing.T, empty func(testing.TB) string) {
		url := empty(t)
		a := authsrv.Follow(t, url, "https://auth.example")
		for i := range 5 {
			a.Put(t, &pb.Rule{Id: fmt.Sprint("r", i), Effect: "allow"})
		}
		known, behind := a.Position(), authsrv.Follow(t, url, "https://auth.example")
		a.Delete(t, "r0")
		if m := a.First(known); m.Reset_ || !slices.Equal(m.Changes.Remove, []string{"r0"}) {
			t.Errorf("told %v", m)
		}
		a.Prune(t, time.Now())
		if m := authsrv.Follow(t, url, "https://auth.example").First(known); m.Reset_ {
			t.Errorf("forgotten too early: %v", m)
		}
		a.Prune(t, time.Now().Add(2*time.Hour))
		if m := authsrv.Follow(t, url, "https://auth.example").First(known); !m.Reset_ || len(m.Rules.Rules) != 4 {
			t.Errorf("an instance that does not know what changed tells %v", m)
		}
		now := a.Position()
		if m := authsrv.Follow(t, url, "https://auth.example").First(now); m.Reset_ || len(m.Changes.Put)+len(m.Changes.Remove) != 0 {
			t.Errorf("nothing has changed since: %v", m)
		}
		a.Put(t, &pb.Rule{Id: "new", Effect: "allow"})
		behind.Refresh(t)
		if behind.Rules() != 5 || behind.Position() != a.Position() {
			t.Errorf("an instance that was away knows %d rules", behind.Rules())
		}
		if m := behind.First(now); m.Reset_ || !slices.Equal(put(m), []string{"new"}) {
			t.Errorf("told %v", m)
		}
	})
}
