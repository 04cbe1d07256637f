package policy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func compile(tb testing.TB, rules ...*pb.Rule) *policy.Set {
	tb.Helper()
	s, err := policy.Compile(rules)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestDecide(t *testing.T) {
	allow, deny := policy.Allow, policy.Deny
	call := func(account, service, method string) policy.Call {
		return policy.Call{Account: account, Service: service, Method: method}
	}
	for _, c := range []struct {
		name    string
		rules   []*pb.Rule
		call    policy.Call
		allowed bool
		rule    string
	}{
		{"no rules, all may", nil, call("a", "s", "M.X"), true, ""},
		{"a rule elsewhere, default deny", []*pb.Rule{{Id: "1", Effect: deny, Services: []string{"other"}}}, call("a", "s", "M.X"), false, ""},
		{"rule for everybody and everything", []*pb.Rule{{Id: "1", Effect: allow}}, call("a", "s", "M.X"), true, "1"},
		{"deny wins a tie", []*pb.Rule{{Id: "1", Effect: allow}, {Id: "2", Effect: deny}}, call("a", "s", "M.X"), false, "2"},
		{"priority wins over deny", []*pb.Rule{{Id: "1", Effect: allow, Priority: 1}, {Id: "2", Effect: deny}}, call("a", "s", "M.X"), true, "1"},
		{"negative priority", []*pb.Rule{{Id: "1", Effect: allow}, {Id: "2", Effect: deny, Priority: -1}}, call("a", "s", "M.X"), true, "1"},
		{"the first id is named of equal rules", []*pb.Rule{{Id: "b", Effect: deny}, {Id: "a", Effect: deny}}, call("a", "s", "M.X"), false, "a"},
		{"account", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"a"}}}, call("a", "s", "M.X"), true, "1"},
		{"other account", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"a"}}}, call("ab", "s", "M.X"), false, ""},
		{"account prefix", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"a.*"}}}, call("a.b.c", "s", "M.X"), true, "1"},
		{"a prefix is not the name before the dot", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"a.*"}}}, call("a", "s", "M.X"), false, ""},
		{"a prefix ends at the dot", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"a.*"}}}, call("ab.c", "s", "M.X"), false, ""},
		{"service prefix beside its exact name", []*pb.Rule{
			{Id: "1", Effect: allow, Services: []string{"go.micro.srv.*"}}, {Id: "2", Effect: deny, Services: []string{"go.micro.srv.auth"}, Priority: -1},
		}, call("a", "go.micro.srv.auth", "M.X"), true, "1"},
		{"method prefix", []*pb.Rule{{Id: "1", Effect: allow, Methods: []string{"Account.*"}}}, call("a", "s", "Account.Read"), true, "1"},
		{"method of another handler", []*pb.Rule{{Id: "1", Effect: allow, Methods: []string{"Account.*"}}}, call("a", "s", "Accounts.Read"), false, ""},
		{"star is everything", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"*"}, Services: []string{"*"}, Methods: []string{"*"}}}, call("", "", ""), true, "1"},
		{"role", []*pb.Rule{{Id: "1", Effect: allow, Accounts: []string{"z"}, Roles: []string{"r", "q"}}}, policy.Call{Account: "a", Roles: []string{"q"}}, true, "1"},
		{"roles without the role", []*pb.Rule{{Id: "1", Effect: allow, Roles: []string{"r"}}}, policy.Call{Account: "a", Roles: []string{"q"}}, false, ""},
		{"an account named like a role", []*pb.Rule{{Id: "1", Effect: allow, Roles: []string{"admin"}}}, call("admin", "s", "M.X"), false, ""},
		{"all scopes", []*pb.Rule{{Id: "1", Effect: allow, Scopes: []string{"x", "y"}}}, policy.Call{Scopes: []string{"y", "x"}}, true, "1"},
		{"one scope of two", []*pb.Rule{{Id: "1", Effect: allow, Scopes: []string{"x", "y"}}}, policy.Call{Scopes: []string{"x"}}, false, ""},
		{"a deny that needs scopes the token lacks", []*pb.Rule{{Id: "1", Effect: allow}, {Id: "2", Effect: deny, Scopes: []string{"x"}}}, policy.Call{}, true, "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compile(t, c.rules...).Decide(&c.call)
			if got.Allowed != c.allowed || got.Rule != c.rule || got.Reason == "" {
				t.Errorf("got %+v", got)
			}
			if got.Rule != "" && !strings.Contains(got.Reason, got.Rule) {
				t.Errorf("the reason does not name the rule: %q", got.Reason)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	many := slices.Repeat([]string{"a"}, policy.MaxNames+1)
	for field, r := range map[string]*pb.Rule{
		"id:":          {Effect: "allow"},
		"id: ":         {Id: "a\nb", Effect: "allow"},
		"id: must":     {Id: strings.Repeat("a", 129), Effect: "allow"},
		"effect":       {Id: "1", Effect: "Allow"},
		"effect: must": {Id: "1"},
		"priority":     {Id: "1", Effect: "deny", Priority: policy.MaxPriority + 1},
		"comment":      {Id: "1", Effect: "deny", Comment: "a\x1b[31m"},
		"accounts":     {Id: "1", Effect: "deny", Accounts: many},
		"accounts: a":  {Id: "1", Effect: "deny", Accounts: []string{"a*"}},
		"roles":        {Id: "1", Effect: "deny", Roles: []string{"*"}},
		"scopes":       {Id: "1", Effect: "deny", Scopes: []string{"a.*"}},
		"services":     {Id: "1", Effect: "deny", Services: []string{""}},
		"services: a":  {Id: "1", Effect: "deny", Services: []string{"*.b"}},
		"methods":      {Id: "1", Effect: "deny", Methods: []string{"A.*.*"}},
		"methods: e":   {Id: "1", Effect: "deny", Methods: []string{strings.Repeat("m", 257)}},
	} {
		err := policy.Validate(r)
		if !errors.Is(err, rpcerr.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%v: %v, want one that names %q", r, err, field)
		}
		if _, err := policy.Compile([]*pb.Rule{r}); err == nil {
			t.Errorf("compiled: %v", r)
		}
	}
	if err := policy.Validate(nil); !errors.Is(err, rpcerr.ErrInvalid) {
		t.Error(err)
	}
	if err := policy.Validate(&pb.Rule{Id: "1", Effect: "deny", Services: []string{"go.micro.srv.*", "*"}, Comment: "why"}); err != nil {
		t.Error(err)
	}
}

func TestCompileRefuses(t *testing.T) {
	if _, err := policy.Compile([]*pb.Rule{{Id: "1", Effect: "deny"}, {Id: "1", Effect: "allow"}}); !errors.Is(err, rpcerr.ErrInvalid) {
		t.Errorf("two rules with one id: %v", err)
	}
	if _, err := policy.Compile(make([]*pb.Rule, policy.MaxRules+1)); !errors.Is(err, rpcerr.ErrInvalid) {
		t.Errorf("too many: %v", err)
	}
}

// naive is the meaning of rules read off auth.proto, one after the other.
func naive(rules []*pb.Rule, c *policy.Call) policy.Decision {
	fits := func(patterns []string, name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			begin, isPrefix := strings.CutSuffix(p, "*")
			return p == name || isPrefix && strings.HasPrefix(name, begin)
		})
	}
	var best *pb.Rule
	for _, r := range rules {
		who := len(r.Accounts)+len(r.Roles) == 0 || fits(r.Accounts, c.Account) ||
			slices.ContainsFunc(r.Roles, func(role string) bool { return slices.Contains(c.Roles, role) })
		with := !slices.ContainsFunc(r.Scopes, func(s string) bool { return !slices.Contains(c.Scopes, s) })
		what := (len(r.Services) == 0 || fits(r.Services, c.Service)) && (len(r.Methods) == 0 || fits(r.Methods, c.Method))
		if !who || !with || !what {
			continue
		}
		switch {
		case best == nil, r.Priority > best.Priority,
			r.Priority == best.Priority && r.Effect == policy.Deny && best.Effect == policy.Allow,
			r.Priority == best.Priority && r.Effect == best.Effect && r.Id < best.Id:
			best = r
		}
	}
	if best == nil {
		return policy.Decision{Allowed: len(rules) == 0}
	}
	return policy.Decision{Allowed: best.Effect == policy.Allow, Rule: best.Id}
}

// random makes rules and calls of few names, so that they meet often.
type random struct{ *rand.Rand }

func (r random) names(most int, of ...string) (names []string) {
	for range r.IntN(most + 1) {
		names = append(names, of[r.IntN(len(of))])
	}
	return names
}

func (r random) rule(id int) *pb.Rule {
	return &pb.Rule{
		Id: fmt.Sprint("r", id), Effect: []string{policy.Allow, policy.Deny}[r.IntN(2)], Priority: r.Int64N(4) - 1,
		Accounts: r.names(2, "a", "a.b", "a.b.c", "d", "a.*", "a.b.*", "*"), Roles: r.names(2, "x", "y", "z"), Scopes: r.names(2, "s", "t", "u"),
		Services: r.names(2, "p", "p.q", "p.q.r", "p.*", "p.q.*", "*"), Methods: r.names(2, "M.A", "M.B", "N.A", "M.*", "N.*"),
	}
}

func (r random) call() *policy.Call {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	return &policy.Call{
		Account: one("", "a", "a.b", "a.b.c", "a.b.c.d", "a.", "d", "e"), Roles: r.names(3, "x", "y", "z", "w"), Scopes: r.names(3, "s", "t", "u", "v"),
		Service: one("", "p", "p.q", "p.q.r", "p.x", "q.p", "."), Method: one("", "M.A", "M.B", "M.C", "N.A", "N", "O.A"),
	}
}

func FuzzDecideAsNaive(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint16(seed*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		r := random{rand.New(rand.NewPCG(seed, 0))}
		rules := make([]*pb.Rule, n%300)
		for i := range rules {
			rules[i] = r.rule(i)
		}
		set := compile(t, rules...)
		for range 200 {
			c := r.call()
			got, want := set.Decide(c), naive(rules, c)
			if got.Allowed != want.Allowed || got.Rule != want.Rule {
				t.Fatalf("%+v: got %+v, want %+v of %v", c, got, want, rules)
			}
		}
	})
}

func FuzzValidate(f *testing.F) {
	f.Add("id", "allow", "a.*", "Account.*", "role", int64(1))
	f.Add("\x00", "ALLOW", "*a", "..*", "\xff", int64(-1<<63))
	f.Fuzz(func(t *testing.T, id, effect, account, method, role string, priority int64) {
		r := &pb.Rule{Id: id, Effect: effect, Accounts: []string{account}, Methods: []string{method}, Roles: []string{role}, Priority: priority}
		set, err := policy.Compile([]*pb.Rule{r})
		if err == nil {
			set.Decide(&policy.Call{Account: account, Method: method, Service: id})
		}
	})
}

func TestDecideAllocatesNothing(t *testing.T) {
	set, call := thousand(t)
	if n := testing.AllocsPerRun(100, func() { set.Decide(call) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// thousand rules as a platform of 100 services might have, and a call that the
// last but one of them decides.
func thousand(tb testing.TB) (*policy.Set, *policy.Call) {
	rules := make([]*pb.Rule, 1000)
	for i := range rules {
		rules[i] = &pb.Rule{
			Id: fmt.Sprintf("rule-%03d", i), Effect: policy.Allow, Priority: int64(i % 3),
			Accounts: []string{fmt.Sprintf("shop.caller-%d", i%250)}, Services: []string{fmt.Sprintf("shop.service-%d", i%100)}, Methods: []string{"Orders.*"},
		}
	}
	rules[998].Priority = -1
	rules[999].Priority = -2
	return compile(tb, rules...), &policy.Call{
		Account: "shop.caller-248", Roles: []string{"service"}, Scopes: []string{"read", "write"}, Service: "shop.service-98", Method: "Orders.Place",
	}
}

func BenchmarkDecide(b *testing.B) {
	set, call := thousand(b)
	dense := make([]*pb.Rule, 1000)
	for i := range dense {
		dense[i] = &pb.Rule{Id: fmt.Sprint(i), Effect: policy.Deny, Roles: []string{fmt.Sprint("role", i%7)}, Services: []string{"shop.*"}, Scopes: []string{"none"}}
	}
	for _, c := range []struct {
		name string
		set  *policy.Set
		call *policy.Call
	}{
		{"1000", set, call},
		{"1000/unknown service", set, &policy.Call{Account: call.Account, Service: "a.b.c.d", Method: "X.Y"}},
		{"1000/same service", compile(b, dense...), &policy.Call{Account: "a", Roles: []string{"role1", "role2"}, Service: "shop.a", Method: "X.Y", Scopes: []string{"some"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.set.Decide(c.call)
			}
		})
	}
}
