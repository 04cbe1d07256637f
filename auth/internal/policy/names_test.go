package policy_test

import (
	"strings"
	"testing"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
)

func TestNames(t *testing.T) {
	rules := []*pb.Rule{
		{Id: "everything", Effect: policy.Allow, Accounts: []string{"low"}},
		{Id: "registry", Effect: policy.Allow, Accounts: []string{"low"}, Methods: []string{"Registry.*"}},
		{Id: "all-services", Effect: policy.Allow, Accounts: []string{"low"}, Services: []string{"*"}},
		{Id: "grant", Effect: policy.Allow, Accounts: []string{"deployer"}, Services: []string{"name:shop.*", "name:web"}},
		{Id: "any", Effect: policy.Allow, Roles: []string{"operator"}, Services: []string{"name:*"}},
		{Id: "never", Effect: policy.Deny, Accounts: []string{"lost"}, Services: []string{"name:*"}, Priority: 9},
	}
	set, err := policy.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	platform := []string{policy.PlatformRole}
	for _, c := range []struct {
		account, name string
		roles         []string
		want          bool
	}{
		{"greeter", "greeter", nil, true},
		{"greeter", "greeter.kv", nil, true},
		{"greeter", "greeterx", nil, false},
		{"greeter", "greet", nil, false},
		{"greeter", "other", nil, false},
		{"", "greeter", nil, false},
		{"", ".x", nil, false},
		{"low", "greeter", nil, false}, // rules about calls grant no name
		{"low", "go.micro.srv.trace", nil, false},
		{"go", "go.micro.srv.trace", nil, false},
		{"go.micro.srv", "go.micro.srv.trace", platform, false},
		{"go.micro.srv.trace", "go.micro.srv.trace", nil, false},
		{"go.micro.srv.trace", "go.micro.srv.trace", platform, true},
		{"go.micro.srv.trace", "go.micro.srv.auth", platform, false},
		{"deployer", "shop.orders", nil, true},
		{"deployer", "shop", nil, false},
		{"deployer", "web", nil, true},
		{"deployer", "website", nil, false},
		{"ann", "go.micro.srv.auth", []string{"operator"}, true},
		{"lost", "lost", nil, false},
	} {
		d := set.Holds(&policy.Call{Account: c.account, Roles: c.roles, Service: c.name})
		if d.Allowed != c.want || !d.Allowed && d.Reason == "" {
			t.Errorf("%q holds %q: %+v, want %v", c.account, c.name, d, c.want)
		}
	}
	// A rule about names is not a rule about calls, not even the first.
	only, err := policy.Compile(rules[3:])
	if err != nil || !only.Decide(&policy.Call{Account: "a", Service: "shop.orders", Method: "M.X"}).Allowed {
		t.Errorf("rules about names decide calls: %v", err)
	}
}

func TestRulesAboutNamesAreValidated(t *testing.T) {
	for why, r := range map[string]*pb.Rule{
		"go together": {Services: []string{"name:a", "a"}},
		"names and":   {Services: []string{"a", "name:a"}},
		"have none":   {Services: []string{"name:a"}, Methods: []string{"Registry.Register"}},
		"a pattern":   {Services: []string{"name:a*"}},
		"printable":   {Services: []string{"name:"}},
	} {
		r.Id, r.Effect = "r", policy.Allow
		if err := policy.Validate(r); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v: %v", r.Services, err)
		}
	}
}
