package srv

import (
	"context"

	pb "github.com/micro/go-platform/router/proto"
)

// Store keeps rules, labels and limits; what is derived from reports is kept in
// memory. Several router-srv share one. It is safe for concurrent use. What is
// not there is ErrNotFound, what is there already ErrExists, and what there is
// no room for ErrLimited.
type Store interface {
	// CreateSet keeps a new rule or label.
	CreateSet(ctx context.Context, s set) error
	// ReadSet returns one by its id.
	ReadSet(ctx context.Context, k kind, id string) (set, error)
	// UpdateSet replaces the one of the same kind and id.
	UpdateSet(ctx context.Context, s set) error
	// DeleteSet removes one.
	DeleteSet(ctx context.Context, k kind, id string) error
	// SearchSets returns those that match in the order in which they decide.
	SearchSets(ctx context.Context, q query) ([]set, error)

	// CreateLimit keeps the limits of a service that has none.
	CreateLimit(ctx context.Context, l *pb.LimitSet) error
	// ReadLimit returns those of a service.
	ReadLimit(ctx context.Context, service string) (*pb.LimitSet, error)
	// UpdateLimit replaces those of a service.
	UpdateLimit(ctx context.Context, l *pb.LimitSet) error
	// DeleteLimit removes those of a service.
	DeleteLimit(ctx context.Context, service string) error
	// SearchLimits returns those of one service or of all, by name.
	SearchLimits(ctx context.Context, service string, limit, offset int64) ([]*pb.LimitSet, error)

	// Changes rises with every write, by whomever.
	Changes(ctx context.Context) (int64, error)
}

// kind tells rules from labels, which look the same.
type kind string

const (
	ruleKind  kind = "rule"
	labelKind kind = "label"
)

// set is a rule or a label.
type set struct {
	kind                 kind
	id, service, version string
	weight, priority     int64
	key, value           string
	fallback             pb.LabelSet_Fallback
}

// query matches all where a field is empty.
type query struct {
	kind                  kind
	service, version, key string
	limit, offset         int64
}

func ruleOf(r *pb.RuleSet) set {
	return set{
		kind: ruleKind, id: r.GetId(), service: r.GetService(), version: r.GetVersion(),
		weight: r.GetWeight(), priority: r.GetPriority(), key: r.GetKey(), value: r.GetValue(),
	}
}

func labelOf(l *pb.LabelSet) set {
	return set{
		kind: labelKind, id: l.GetId(), service: l.GetService(), version: l.GetVersion(), weight: l.GetWeight(),
		priority: l.GetPriority(), key: l.GetKey(), value: l.GetValue(), fallback: l.GetFallback(),
	}
}

func (s set) rule() *pb.RuleSet {
	return &pb.RuleSet{
		Id: s.id, Service: s.service, Version: s.version, Weight: s.weight, Priority: s.priority, Key: s.key, Value: s.value,
	}
}

func (s set) label() *pb.LabelSet {
	return &pb.LabelSet{
		Id: s.id, Service: s.service, Version: s.version, Weight: s.weight, Priority: s.priority,
		Key: s.key, Value: s.value, Fallback: s.fallback,
	}
}
