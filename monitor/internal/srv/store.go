package srv

import (
	"context"
	"time"

	pb "github.com/micro/go-platform/monitor/proto"
)

// Store keeps the history and the last known status of each node; what is now
// is kept in memory. It is safe for concurrent use.
type Store interface {
	// Append keeps the changes in their order, all or none.
	Append(ctx context.Context, changes []change) error
	// History returns the transitions that match, oldest first unless reversed.
	History(ctx context.Context, q *pb.HistoryRequest) ([]*pb.Transition, error)
	// Nodes returns the nodes as they were last known, those that stopped or
	// fell silent only when that was since.
	Nodes(ctx context.Context, since time.Time) ([]*pb.Status, error)
	// Prune removes what is older, but no node that may still be there.
	Prune(ctx context.Context, before time.Time) error
}

// change is a transition and, when the node's status changed, the node.
type change struct {
	transition *pb.Transition
	node       *pb.Service // nil for checks
}
