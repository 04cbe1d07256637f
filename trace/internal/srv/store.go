package srv

import (
	"context"

	"github.com/micro/go-platform/internal/page"
	pb "github.com/micro/go-platform/trace/proto"
)

// store is what keeps the spans. All methods are safe for concurrent use.
type store interface {
	// Insert adds spans, and may reorder them; one that is known by trace id, span id and kind is left
	// as it is.
	Insert(ctx context.Context, spans []*record) error
	// Read returns the first spans of a trace in order of time, at most limit
	// and maxAnswer bytes, and whether there are more.
	Read(ctx context.Context, traceID string, limit int) (spans []*pb.Span, more bool, err error)
	// Delete removes a trace.
	Delete(ctx context.Context, traceID string) error
	// Search returns the spans that match q, and whether maxAnswer cut them off.
	Search(ctx context.Context, q query) (spans []*pb.Span, cut bool, err error)
	// Dependencies counts calls between services begun in [from, to).
	Dependencies(ctx context.Context, from, to int64) ([]*pb.Dependency, error)
	// Expire removes spans received before a time, then the oldest until most
	// are left, and returns how many it removed.
	Expire(ctx context.Context, before, most int64) (int64, error)
}

// query is a search. A zero value does not restrict it.
type query struct {
	name, service            string
	minDuration, maxDuration int64 // µs
	from, to                 int64 // µs since 1970
	failed                   bool
	tags                     map[string]string
	limit, offset            int64
	reverse                  bool
}

// maxAnswer bounds the spans of one answer in bytes, so that there is room for what
// a tree says of each.
const maxAnswer = page.Bytes
