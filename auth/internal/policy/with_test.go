package policy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// A set that was changed rule by rule decides as one that was made at once.
func FuzzWithAsCompile(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint16(seed*37))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		r := random{rand.New(rand.NewPCG(seed, 1))}
		set, kept := compile(t), map[string]*pb.Rule{}
		for range n % 600 {
			var put []*pb.Rule
			var remove []string
			if r.IntN(3) > 0 {
				put = []*pb.Rule{r.rule(r.IntN(200))}
				if put[0].Starting = r.IntN(4) == 0; r.IntN(4) == 0 {
					put[0].Methods, put[0].Services = nil, []string{"name:p.q", "name:p.*"}
				}
			} else {
				remove = []string{fmt.Sprint("r", r.IntN(200)), fmt.Sprint("r", r.IntN(200))}
			}
			was, before := set, len(set.All())
			set = with(t, set, put, remove)
			if got := len(was.All()); got != before {
				t.Fatalf("the set it was made of has %d rules, had %d", got, before)
			}
			for _, id := range remove {
				delete(kept, id)
			}
			for _, p := range put {
				kept[p.Id] = p
			}
		}
		isSame(t, r, set, kept)
	})
}

func with(t testing.TB, s *policy.Set, put []*pb.Rule, remove []string) *policy.Set {
	t.Helper()
	made, err := s.With(put, remove)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func isSame(t *testing.T, r random, set *policy.Set, kept map[string]*pb.Rule) {
	t.Helper()
	var rules []*pb.Rule
	for _, k := range kept {
		rules = append(rules, k)
	}
	slices.SortFunc(rules, policy.Compare)
	at := compile(t, rules...)
	if !slices.Equal(set.All(), rules) || set.Len() != len(rules) || set.IsOpen() != at.IsOpen() {
		t.Fatalf("%d rules, open %v, want %d, %v", set.Len(), set.IsOpen(), len(rules), at.IsOpen())
	}
	for _, k := range rules {
		if set.Get(k.Id) != k {
			t.Fatalf("rule %s is not the one that was put", k.Id)
		}
	}
	for range 100 {
		c := r.call()
		if got, want := set.Decide(c), at.Decide(c); got != want {
			t.Fatalf("%+v: got %+v, want %+v", c, got, want)
		}
		if got, want := set.Holds(c), at.Holds(c); got != want {
			t.Fatalf("name %+v: got %+v, want %+v", c, got, want)
		}
		about := set.About(c.Service)
		for _, k := range rules {
			if slices.Contains(about, k) != policy.About(k, c.Service) {
				t.Fatalf("rule %v is not told apart as one about %q", k, c.Service)
			}
		}
	}
}

func TestWithRefuses(t *testing.T) {
	set := compile(t, &pb.Rule{Id: "1", Effect: policy.Deny})
	for what, put := range map[string][]*pb.Rule{
		"a bad rule":   {{Id: "2", Effect: "maybe"}},
		"one id twice": {{Id: "2", Effect: policy.Deny}, {Id: "2", Effect: policy.Allow}},
		"too many":     numbered(policy.MaxRules),
	} {
		if _, err := set.With(put, nil); !errors.Is(err, rpcerr.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if full := compile(t, numbered(policy.MaxRules)...); with(t, full, numbered(1), nil).Len() != policy.MaxRules {
		t.Error("a full set does not let its rules be replaced")
	}
}

// numbered returns rules of their own services.
func numbered(n int) []*pb.Rule {
	rules := make([]*pb.Rule, n)
	for i := range rules {
		rules[i] = &pb.Rule{
			Id: fmt.Sprintf("rule-%05d", i), Effect: policy.Allow, Accounts: []string{fmt.Sprintf("shop.caller-%d", i%250)},
			Services: []string{fmt.Sprintf("shop.service-%d", i%1000)}, Methods: []string{"Orders.*"},
		}
	}
	return rules
}

// Adding rules one by one costs each about the same: ten times as many take
// nothing like a hundred times as long.
func TestAddingIsNotQuadratic(t *testing.T) {
	rules := numbered(policy.MaxRules)
	load := func(n int) time.Duration {
		best := time.Hour
		for range 3 {
			set, began := compile(t), time.Now()
			for i := range n {
				set = with(t, set, rules[i:i+1], nil)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	few, many := load(1_000), load(10_000)
	t.Logf("1 000 rules: %v, 10 000: %v", few, many)
	if many > 40*few {
		t.Errorf("ten times as many rules took %.0f times as long", float64(many)/float64(few))
	}
}

// BenchmarkWith is one more rule for a set of so many.
func BenchmarkWith(b *testing.B) {
	rules := numbered(policy.MaxRules)
	for _, n := range []int{100, 1_000, 9_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			start := compile(b, rules[:n]...)
			b.ReportAllocs()
			set := start
			for i := 0; b.Loop(); i++ {
				if i%1000 == 0 {
					set = start
				}
				set = with(b, set, rules[n+i%1000:n+i%1000+1], nil)
			}
		})
	}
}

// BenchmarkCompile is so many rules at once.
func BenchmarkCompile(b *testing.B) {
	rules := numbered(policy.MaxRules)
	b.ReportAllocs()
	for b.Loop() {
		compile(b, rules...)
	}
}
