package srv

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/sqlstore"
	pb "github.com/micro/go-platform/router/proto"
)

// Migrations are the tables of the store.
var Migrations = migrations

// NewSQLStore returns the store of a database.
func NewSQLStore(db *sqlstore.DB) Store { return &sqlStore{db} }

// What a Store keeps.
type (
	Set   = set
	Query = query
)

// RuleOf and LabelOf make sets.
var (
	RuleOf  = ruleOf
	LabelOf = labelOf
)

// The kinds of sets.
const (
	RuleKind  = ruleKind
	LabelKind = labelKind
)

// Rule returns the set as a rule.
func (s set) Rule() *pb.RuleSet { return s.rule() }

// Label returns the set as a label.
func (s set) Label() *pb.LabelSet { return s.label() }

// RulesQuery asks for rules.
func RulesQuery(service, version, key string, limit, offset int64) Query {
	return query{ruleKind, service, version, key, limit, offset}
}

// CheckReport is what every report passes first.
func CheckReport(r *pb.ReportRequest) error { return checkReport(r) }

// Divide splits a limit.
func Divide(total float64, wants []float64) []float64 { return divide(total, wants) }

// Bucket and Bounds are the buckets of Metrics.
func Bucket(ms float64) int            { return bucket(ms) }
func Bounds(i int) (low, high float64) { return bounds(i) }
func Merge(all ...*pb.Metrics) *pb.Metrics {
	d := distribution{}
	for _, m := range all {
		d.report(m)
	}
	return d.wire()
}
func (e Engine) Known() (tables, callers int) { return len(e.tables), len(e.callers) }

// Engine is router-srv without a server around it.
type Engine struct{ *engine }

// NewEngine returns one that believes the registry to know these services.
func NewEngine(now time.Time, services map[string]*regcache.Snapshot) Engine {
	return Engine{newEngine(settings{10 * time.Second, 3, 10 * time.Second, 0.2},
		func(name string) (*regcache.Snapshot, bool) { return services[name], false }, func(string) {}, now)}
}

// Report takes a report as if it came from a host at a time.
func (e Engine) Report(r *pb.ReportRequest, host string, now time.Time) error {
	if err := checkReport(r); err != nil {
		return err
	}
	return e.report(identity{r.Caller.Service, r.Caller.Node, r.Caller.Zone, host}, r, now)
}

// Topic takes Stats as the topic brings them.
func (e Engine) Topic(s *pb.Stats) error { return (&intake{engine: e.engine}).count(s) }

// JudgeAgain has the next Tick ask the callers.
func (e Engine) JudgeAgain() {
	for _, t := range e.all() {
		t.judged = time.Time{}
	}
}

// Tick derives everything.
func (e Engine) Tick(now time.Time) { e.tick(now) }

// Answer is what a caller is told; nil is one without a name.
func (e Engine) Answer(service string, c *pb.Caller, host string, now time.Time) (*pb.SelectResponse, error) {
	if c == nil {
		return e.answer(service, nil, now)
	}
	id := identity{c.Service, c.Node, c.Zone, host}
	if err := e.vouch(id, now); err != nil {
		return nil, err
	}
	return e.answer(service, &id, now)
}

// Stats is what Router.Stats says.
func (e Engine) Stats(req *pb.StatsRequest, now time.Time) []*pb.Stats {
	var found []*pb.Stats
	for _, t := range e.all() {
		found = append(found, t.stats(req, e.window, e.clock.slot(now))...)
	}
	return found
}

// Load takes rules, labels and limits from a store.
func (e Engine) Load(ctx context.Context, s Store) error {
	p, err := load(ctx, s)
	e.policy.Store(p)
	return err
}

// SetLimit puts a limit in force.
func (e Engine) SetLimit(l *pb.LimitSet) {
	e.policy.Store(&policy{limits: map[string]*pb.LimitSet{l.Service: l}})
}
