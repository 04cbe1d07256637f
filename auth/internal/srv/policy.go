package srv

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

// policyHandler is Policy.
type policyHandler struct {
	feed     *feed
	insecure bool
	done     <-chan struct{}
	watchers *daemon.Streams
}

// Create implements pb.PolicyHandler.
func (h *policyHandler) Create(ctx context.Context, req *pb.PolicyCreateRequest, rsp *pb.PolicyCreateResponse) (err error) {
	if req.Rule != nil && req.Rule.Id == "" {
		req.Rule.Id = uuid.NewString()
	}
	rsp.Rule, err = h.put(ctx, req.Rule, false)
	return refuse(err)
}

// Update implements pb.PolicyHandler.
func (h *policyHandler) Update(ctx context.Context, req *pb.PolicyUpdateRequest, rsp *pb.PolicyUpdateResponse) (err error) {
	rsp.Rule, err = h.put(ctx, req.Rule, true)
	return refuse(err)
}

// put keeps a rule that the engine takes, alone and with all others.
func (h *policyHandler) put(ctx context.Context, r *pb.Rule, update bool) (*pb.Rule, error) {
	if r == nil {
		return nil, rpcerr.Invalid("rule", "missing")
	}
	if err := policy.Validate(r); err != nil {
		return nil, err
	}
	if err := h.feed.store.PutRule(ctx, r, update, func(all []*pb.Rule) error {
		_, err := policy.Compile(all)
		return err
	}); err != nil {
		return nil, err
	}
	return r, h.feed.refresh(ctx)
}

// Read implements pb.PolicyHandler.
func (h *policyHandler) Read(_ context.Context, req *pb.PolicyReadRequest, rsp *pb.PolicyReadResponse) error {
	for _, r := range h.feed.now.Load().rules.list {
		if r.Id == req.Id {
			rsp.Rule = r
			return nil
		}
	}
	return refuse(fmt.Errorf("rule %.128q: %w", req.Id, rpcerr.ErrNotFound))
}

// Delete implements pb.PolicyHandler.
func (h *policyHandler) Delete(ctx context.Context, req *pb.PolicyDeleteRequest, _ *pb.PolicyDeleteResponse) error {
	if req.Id == "" {
		return refuse(rpcerr.Invalid("id", "missing"))
	}
	if err := h.feed.store.DeleteRule(ctx, req.Id); err != nil {
		return refuse(err)
	}
	return refuse(h.feed.refresh(ctx))
}

// Search implements pb.PolicyHandler.
func (h *policyHandler) Search(_ context.Context, req *pb.PolicySearchRequest, rsp *pb.PolicySearchResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	var found []*pb.Rule
	for _, r := range h.feed.now.Load().rules.list {
		if (req.Account == "" || slices.Contains(r.Accounts, req.Account)) && (req.Service == "" || slices.Contains(r.Services, req.Service)) {
			found = append(found, r)
		}
	}
	rsp.Rules = page.Cut(found, req.Limit, req.Offset)
	return nil
}

func decide(s *policy.Set, c *pb.Call) *pb.Decision {
	d := s.Decide(&policy.Call{Account: c.Account, Roles: c.Roles, Scopes: c.Scopes, Service: c.Service, Method: c.Method})
	return &pb.Decision{Allowed: d.Allowed, Rule: d.Rule, Reason: d.Reason}
}

// Check implements pb.PolicyHandler.
func (h *policyHandler) Check(_ context.Context, req *pb.PolicyCheckRequest, rsp *pb.PolicyCheckResponse) error {
	if req.Call == nil {
		return refuse(rpcerr.Invalid("call", "missing"))
	}
	rsp.Decision = decide(h.feed.now.Load().rules.decider, req.Call)
	return nil
}

// Diff implements pb.PolicyHandler.
func (h *policyHandler) Diff(_ context.Context, req *pb.PolicyDiffRequest, rsp *pb.PolicyDiffResponse) error {
	is := h.feed.now.Load().rules
	replaced := slices.Clone(req.Remove)
	for _, r := range req.Put {
		replaced = append(replaced, r.GetId())
		if i := slices.IndexFunc(is.list, func(old *pb.Rule) bool { return old.Id == r.GetId() }); r != nil {
			r.Starting = i >= 0 && is.list[i].Starting
		}
	}
	would := slices.DeleteFunc(slices.Clone(is.list), func(r *pb.Rule) bool { return slices.Contains(replaced, r.Id) })
	would = append(would, req.Put...)
	after, err := policy.Compile(would)
	if err != nil {
		return refuse(err)
	}
	calls := req.Calls
	if len(calls) == 0 {
		calls = namedCalls(append(would, is.list...))
	}
	if len(calls) > maxDiff {
		return refuse(rpcerr.Invalid("calls", "%d to decide, more than %d: name those that matter", len(calls), maxDiff))
	}
	for _, c := range calls {
		if c == nil {
			return refuse(rpcerr.Invalid("calls", "one is missing"))
		}
		b, a := decide(is.decider, c), decide(after, c)
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
