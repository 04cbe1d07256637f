package srv

import (
	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
)

// startPriority is below the default priority, so that the rules of users
// overrule the starting ones.
const startPriority = -1000

// startingRules are those of a first start: without them the first rule of a new
// user would refuse what the platform needs to see and to find anybody. They are
// shown, changed and deleted like others, and are not the first.
func startingRules() []*pb.Rule {
	const prefix = policy.PlatformPrefix
	rules := []*pb.Rule{
		{Id: "start-admin", Roles: []string{ScopeAdmin}, Comment: "the admin may call everything"},
		{Id: "start-admin-names", Roles: []string{ScopeAdmin}, Services: []string{policy.NamePrefix + "*"}, Comment: "the admin may speak for every service, as a developer's machine does"},
		{Id: "start-platform", Roles: []string{RolePlatform}, Services: []string{prefix + "*"}, Comment: "the platform's services call each other"},
		{
			Id: "start-trace", Services: []string{prefix + "trace"}, Methods: []string{"Trace.Create", "micro.trace.span"},
			Comment: "every service sends its spans",
		},
		{
			Id: "start-monitor", Services: []string{prefix + "monitor"}, Methods: []string{"Monitor.Report", "Monitor.Watch", "Monitor.Verdicts", "micro.monitor.*"},
			Comment: "every service reports on itself and is told who is well",
		},
		{
			Id: "start-router", Services: []string{prefix + "router"}, Methods: []string{"Router.*", "platform.router.*"},
			Comment: "every service tells its statistics and asks for nodes",
		},
		{
			Id: "start-discovery", Services: []string{prefix + "discovery"}, Methods: []string{"Registry.*", "micro.discovery.*"},
			Comment: "every service registers, under its own name, and looks others up",
		},
		{
			Id: "start-brokers", Services: []string{policy.NamePrefix + "micro.http.broker"},
			Comment: "subscribers of go-micro's http broker register under this name, and are sent what is published there",
		},
	}
	for _, r := range rules {
		r.Effect, r.Priority, r.Starting = policy.Allow, startPriority, true
	}
	return rules
}
