package srv

import (
	"context"
	"slices"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Diff implements pb.PolicyHandler.
func (h *policyHandler) Diff(_ context.Context, req *pb.PolicyDiffRequest, rsp *pb.PolicyDiffResponse) error {
	is := h.feed.now.Load().rules
	for _, r := range req.Put {
		if r != nil {
			r.Starting = is.set.Get(r.Id).GetStarting()
		}
	}
	after, err := is.set.With(req.Put, req.Remove)
	if err != nil {
		return refuse(err)
	}
	calls := req.Calls
	if len(calls) == 0 {
		calls = namedCalls(slices.Concat(is.all(), req.Put))
	}
	if len(calls) > maxDiff {
		return refuse(rpcerr.Invalid("calls", "%d to decide, more than %d: name those that matter", len(calls), maxDiff))
	}
	for _, c := range calls {
		if c == nil {
			return refuse(rpcerr.Invalid("calls", "one is missing"))
		}
		b, a := decide(is.set, c), decide(after, c)
		if b.Allowed != a.Allowed || b.Rule != a.Rule {
			rsp.Changes = append(rsp.Changes, &pb.Change{Call: c, Before: b, After: a})
		}
	}
	return nil
}

// maxDiff bounds the decisions of one Diff.
const maxDiff = 10_000

// namedCalls returns a call by everybody to everything that rules name, with
// the scopes that a rule wants and without. A pattern stands for a name that
// fits it: itself.
func namedCalls(rules []*pb.Rule) []*pb.Call {
	who, what := []*pb.Call{{}}, []*pb.Call{}
	scopes := [][]string{nil}
	for _, r := range rules {
		for _, a := range r.Accounts {
			who = append(who, &pb.Call{Account: a})
		}
		for _, role := range r.Roles {
			who = append(who, &pb.Call{Roles: []string{role}})
		}
		if len(r.Scopes) > 0 {
			scopes = append(scopes, r.Scopes)
		}
		for _, s := range orAny(r.Services) {
			for _, m := range orAny(r.Methods) {
				what = append(what, &pb.Call{Service: s, Method: m})
			}
		}
	}
	who, what, scopes = distinct(who), distinct(what), distinctScopes(scopes)
	if len(who)*len(what)*len(scopes) > maxDiff {
		return make([]*pb.Call, maxDiff+1)
	}
	var calls []*pb.Call
	for _, a := range who {
		for _, m := range what {
			for _, s := range scopes {
				calls = append(calls, &pb.Call{Account: a.Account, Roles: a.Roles, Scopes: s, Service: m.Service, Method: m.Method})
			}
		}
	}
	return calls
}

func orAny(names []string) []string {
	if len(names) == 0 {
		return []string{"*"}
	}
	return names
}

func distinct(calls []*pb.Call) []*pb.Call {
	seen := map[string]bool{}
	return slices.DeleteFunc(calls, func(c *pb.Call) bool {
		key := encode([]any{c.Account, c.Roles, c.Service, c.Method})
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

func distinctScopes(all [][]string) [][]string {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(s []string) bool {
		key := encode(s)
		defer func() { seen[key] = true }()
		return seen[key]
	})
}
