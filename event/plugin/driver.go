// Package plugin is for authors of plugins of event: a log is a Driver, and
// event.NewPlugin makes an Event of it.
package plugin

import (
	"context"

	pb "github.com/micro/go-platform/event/proto"
)

// Driver is a log as an event.Plugin sees it. An error of any method but Append
// that is event.ErrInvalid ends what was asked for; after others it is asked
// again.
type Driver interface {
	// Start is called once, before the others. It must not wait for the log.
	Start() error
	// Append appends the records in order and returns when all are on disk,
	// with a result for each. An error means that nobody knows, or that none
	// is: the same records may come again.
	Append(ctx context.Context, records []*pb.Record) ([]*pb.Result, error)
	// Follow hands over what the log has from a position on until ctx ends,
	// the connection breaks or deliver fails, and returns the reason. Pages
	// come in order, the next when deliver has returned.
	Follow(ctx context.Context, from Position, types []string, deliver func(*Page) error) error
	// Join connects a member of a durable subscription. The end of ctx is that
	// of the member.
	Join(ctx context.Context, m Membership) (Session, error)
	// Stop is called after everything else has ended, if Start was called.
	Stop() error
}

// Membership is what a member of a durable subscription asks for.
type Membership struct {
	Conf   *pb.Subscription
	Member string   // its name, the same in all its connections
	Credit int      // most deliveries that are not settled
	Held   []uint64 // deliveries of earlier connections that it handles, or whose outcomes it tells next
	Log    string   // that of the earlier connection; another one is read from its beginning
	// Skipped is told how many records retention removed before any member
	// got them, by drivers that find out.
	Skipped func(n uint64)
}

// Position is where to read from.
type Position struct {
	Start    pb.Start
	Sequence uint64
	Time     int64  // unix nanoseconds
	Log      string // that Sequence belongs to, if known
}

// Page is a piece of the log.
type Page struct {
	Log     string // names the log; one that lost its records has another name
	Records []*pb.Record
	Cursor  uint64 // everything up to here was handed over or does not match
	Last    uint64 // end of the log
	Skipped uint64 // records that retention removed before they could be read
}

// Session is one connection of a member of a durable subscription.
type Session interface {
	// Log names the log that the deliveries are of.
	Log() string
	// Recv waits for deliveries. None are a sign of life.
	Recv(ctx context.Context) (deliveries []*pb.Delivery, lag uint64, err error)
	// Settle says what became of deliveries, and of which the AckWait shall
	// begin anew.
	Settle(ctx context.Context, settled []*pb.Settlement, touched []uint64) error
	// Leave gives back what is not settled and returns when what is settled is
	// on disk. No other method is called after it.
	Leave(ctx context.Context) error
	// Close ends the connection without giving anything back. It ends Recv and
	// may come after Leave.
	Close()
}
