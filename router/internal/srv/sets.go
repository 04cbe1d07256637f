package srv

import (
	"context"

	"github.com/google/uuid"

	"github.com/micro/go-platform/internal/page"
	pb "github.com/micro/go-platform/router/proto"
)

// keeper is what Rule, Label and Limit share: the store, and telling of writes.
type keeper struct {
	store   Store
	written func()
}

// create keeps a rule or a label, with an id of its own unless it has one.
func (k keeper) create(ctx context.Context, field string, s *set) error {
	if s.id == "" {
		s.id = uuid.NewString()
	}
	if err := checkSet(field, *s); err != nil {
		return refuse(err)
	}
	return k.wrote(k.store.CreateSet(ctx, *s))
}

func (k keeper) update(ctx context.Context, field string, s set) error {
	if err := checkSet(field, s); err != nil {
		return refuse(err)
	}
	return k.wrote(k.store.UpdateSet(ctx, s))
}

func (k keeper) remove(ctx context.Context, kind kind, id string) error {
	if err := checkName("id", id, maxID); err != nil {
		return refuse(err)
	}
	return k.wrote(k.store.DeleteSet(ctx, kind, id))
}

func (k keeper) wrote(err error) error {
	if err == nil {
		k.written()
	}
	return refuse(err)
}

func (k keeper) read(ctx context.Context, kind kind, id string) (set, error) {
	if err := checkName("id", id, maxID); err != nil {
		return set{}, refuse(err)
	}
	s, err := k.store.ReadSet(ctx, kind, id)
	return s, refuse(err)
}

func (k keeper) search(ctx context.Context, q query) ([]set, error) {
	if err := firstOf(
		page.Check(&q.limit, &q.offset),
		checkOptional("service", q.service, maxService),
		checkOptional("version", q.version, maxVersion),
		checkOptional("key", q.key, maxID),
	); err != nil {
		return nil, refuse(err)
	}
	found, err := k.store.SearchSets(ctx, q)
	return found, refuse(err)
}

// rules is Rule of go.micro.srv.router.
type rules struct{ keeper }

// Create implements pb.RuleHandler.
func (h rules) Create(ctx context.Context, req *pb.CreateRuleRequest, rsp *pb.CreateRuleResponse) error {
	s := ruleOf(req.Rule)
	err := h.create(ctx, "rule", &s)
	rsp.Rule = s.rule()
	return err
}

// Read implements pb.RuleHandler.
func (h rules) Read(ctx context.Context, req *pb.ReadRuleRequest, rsp *pb.ReadRuleResponse) error {
	s, err := h.read(ctx, ruleKind, req.Id)
	rsp.Rule = s.rule()
	return err
}

// Update implements pb.RuleHandler.
func (h rules) Update(ctx context.Context, req *pb.UpdateRuleRequest, rsp *pb.UpdateRuleResponse) error {
	s := ruleOf(req.Rule)
	rsp.Rule = s.rule()
	return h.update(ctx, "rule", s)
}

// Delete implements pb.RuleHandler.
func (h rules) Delete(ctx context.Context, req *pb.DeleteRuleRequest, _ *pb.DeleteRuleResponse) error {
	return h.remove(ctx, ruleKind, req.Id)
}

// Search implements pb.RuleHandler.
func (h rules) Search(ctx context.Context, req *pb.SearchRuleRequest, rsp *pb.SearchRuleResponse) error {
	found, err := h.search(ctx, query{ruleKind, req.Service, req.Version, req.Key, req.Limit, req.Offset})
	for _, s := range found {
		rsp.Rules = append(rsp.Rules, s.rule())
	}
	return err
}

// labels is Label of go.micro.srv.router.
type labels struct{ keeper }

// Create implements pb.LabelHandler.
func (h labels) Create(ctx context.Context, req *pb.CreateLabelRequest, rsp *pb.CreateLabelResponse) error {
	s := labelOf(req.Label)
	err := h.create(ctx, "label", &s)
	rsp.Label = s.label()
	return err
}

// Read implements pb.LabelHandler.
func (h labels) Read(ctx context.Context, req *pb.ReadLabelRequest, rsp *pb.ReadLabelResponse) error {
	s, err := h.read(ctx, labelKind, req.Id)
	rsp.Label = s.label()
	return err
}

// Update implements pb.LabelHandler.
func (h labels) Update(ctx context.Context, req *pb.UpdateLabelRequest, rsp *pb.UpdateLabelResponse) error {
	s := labelOf(req.Label)
	rsp.Label = s.label()
	return h.update(ctx, "label", s)
}

// Delete implements pb.LabelHandler.
func (h labels) Delete(ctx context.Context, req *pb.DeleteLabelRequest, _ *pb.DeleteLabelResponse) error {
	return h.remove(ctx, labelKind, req.Id)
}

// Search implements pb.LabelHandler.
func (h labels) Search(ctx context.Context, req *pb.SearchLabelRequest, rsp *pb.SearchLabelResponse) error {
	found, err := h.search(ctx, query{labelKind, req.Service, req.Version, req.Key, req.Limit, req.Offset})
	for _, s := range found {
		rsp.Labels = append(rsp.Labels, s.label())
	}
	return err
}
