package policy_test

import (
	"testing"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
)

func TestStartingRulesAreNotTheFirst(t *testing.T) {
	starting := &pb.Rule{Id: "start", Effect: policy.Allow, Services: []string{"go.micro.srv.trace"}, Methods: []string{"Trace.Create"}, Starting: true}
	name := &pb.Rule{Id: "name", Effect: policy.Allow, Services: []string{"name:a"}}
	first := &pb.Rule{Id: "first", Effect: policy.Allow, Services: []string{"other"}}
	for what, c := range map[string]struct {
		rules                 []*pb.Rule
		shop, spans, platform bool
	}{
		"none":               {nil, true, false, false},
		"starting":           {[]*pb.Rule{starting}, true, true, false},
		"about names":        {[]*pb.Rule{starting, name}, true, true, false},
		"first":              {[]*pb.Rule{starting, first}, false, true, false},
		"first, no starting": {[]*pb.Rule{first}, false, false, false},
	} {
		set, err := policy.Compile(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		for call, want := range map[[2]string]bool{
			{"shop.orders", "Orders.Place"}: c.shop, {"go.micro.srv.trace", "Trace.Create"}: c.spans,
			{"go.micro.srv.trace", "Trace.Search"}: c.platform, {"go.micro.srv.config", "Config.Update"}: c.platform,
		} {
			if d := set.Decide(&policy.Call{Account: "a", Service: call[0], Method: call[1]}); d.Allowed != want {
				t.Errorf("rules %s: %v: %+v", what, call, d)
			}
		}
	}
}
