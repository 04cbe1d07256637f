package srv

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/sqlstore"
	pb "github.com/micro/go-platform/monitor/proto"
)

// Change is what a Store appends.
type Change = change

// Migrations are the tables of the store.
var Migrations = migrations

// NewChange makes a Change; the node is nil for checks.
func NewChange(t *pb.Transition, node *pb.Service) Change { return change{t, node} }

// NewSQLStore returns the store of a database.
func NewSQLStore(db *sqlstore.DB) Store { return &sqlStore{db} }

// CheckReport is what every report passes first.
func CheckReport(r *pb.ReportRequest) error { return checkReport(r) }

// State is the present without a server around it.
type State struct{ *state }

// NewState returns an empty State.
func NewState(record func(Change)) State { return State{newState(record)} }

// Report takes a report as if a caller had made it at a time.
func (s State) Report(r *pb.ReportRequest, by string, now time.Time) error {
	return s.report(r, by, now)
}

// Reporter names a caller.
func Reporter(ctx context.Context) string { return reporter(ctx) }

// Sweep looks for silent nodes.
func (s State) Sweep(now time.Time) { s.sweep(now) }

// Nodes returns how many nodes are known.
func (s State) Nodes() int { return len(s.sorted("", "")) }

// Status returns the status of a node.
func (s State) Status(id string) pb.Status_Status {
	for _, n := range s.sorted("", id) {
		return n.status
	}
	return pb.Status_UNKNOWN
}

// NotReady returns the nodes that routing leaves out.
func (s State) NotReady() (all []*pb.NotReady) {
	for _, w := range s.Routing().Snapshot() {
		all = append(all, w.Set...)
	}
	return all
}

// Routing is what watchers are told of.
type Routing struct{ *revision }

// Routing returns what there is to be told now.
func (s State) Routing() Routing { return Routing{s.routing.now.Load()} }

// Snapshot returns the first messages of a stream.
func (r Routing) Snapshot() []*pb.WatchResponse { return r.snapshot() }

// Since returns the messages for a watcher that knows an older one.
func (r Routing) Since(old Routing) []*pb.WatchResponse { return r.since(old.revision) }

// Verdicts judges all services.
func (s State) Verdicts(now time.Time) []*pb.Verdict { return verdicts(s.sorted("", ""), now) }

// TransitionOf returns what a Change is about.
func TransitionOf(c Change) *pb.Transition { return c.transition }
