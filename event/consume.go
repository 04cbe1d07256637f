package event

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/option"
)

// Consumer handles a record. In a durable subscription nil acknowledges it; an
// error has it delivered again, after a wait that doubles from 100 ms to 30 s,
// unless it is one of Retry or Reject. ctx ends after AckWait, and with that
// of Consume. A panic is an error of c: the first of a Consume is logged with its
// stack, the others are counted in the log when it ends.
type Consumer func(ctx context.Context, d *Delivery) error

// Delivery is a record on its way to a Consumer.
type Delivery struct {
	*Record
	// Try counts the deliveries of the record within the subscription, from 1
	// on; always 1 without Durable.
	Try int
	// Lag is how many records of the log, of any type, the subscription had
	// not settled when this one was sent.
	Lag uint64
}

// Retry makes err ask for the next delivery after a wait.
func Retry(after time.Duration, err error) error { return &retryError{err, max(after, 0)} }

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return fmt.Sprintf("again after %v: %v", e.after, e.err) }
func (e *retryError) Unwrap() error { return e.err }

// Reject makes err say that no try will help: the record becomes a dead letter
// at once.
func Reject(err error) error { return &rejectError{err} }

type rejectError struct{ err error }

func (e *rejectError) Error() string { return fmt.Sprintf("rejected: %v", e.err) }
func (e *rejectError) Unwrap() error { return e.err }

// DeadLetterType returns the type of the dead letters of a durable
// subscription. A dead letter carries the record's data and metadata, its id
// followed by "/NAME/SEQUENCE" of the subscription and the record, its id as
// RootId if it had none, and says in the metadata of the keys below what
// happened.
func DeadLetterType(subscription string) string { return ReservedPrefix + "dead." + subscription }

// The metadata of dead letters.
const (
	DeadReason   = "dead-letter-reason"   // the last error
	DeadTries    = "dead-letter-tries"    // deliveries, also those that did not count
	DeadType     = "dead-letter-type"     // of the record
	DeadSequence = "dead-letter-sequence" // of the record
	DeadCut      = "dead-letter-cut"      // bytes of the data that the log had no room for, if any
)

// ConsumeOptions are what the options of one Consume say.
type ConsumeOptions struct {
	Name        string // of the durable subscription, or empty
	Types       []string
	Start       Start
	Sequence    uint64
	Time        time.Time
	MaxTries    int
	AckWait     time.Duration
	Ordered     bool
	Concurrency int
	Prefetch    int
}

// Start is where a subscription begins.
type Start int32

// The values of FromNow, FromBeginning, FromSequence and FromTime.
const (
	StartNow       = Start(pb.Start_NOW)
	StartBeginning = Start(pb.Start_BEGINNING)
	StartSequence  = Start(pb.Start_SEQUENCE)
	StartTime      = Start(pb.Start_TIME)
)

// ConsumeOption sets one of the ConsumeOptions.
type ConsumeOption func(*ConsumeOptions)

// newConsumeOptions returns the defaults with opts applied.
func newConsumeOptions(opts ...ConsumeOption) ConsumeOptions {
	o := ConsumeOptions{MaxTries: 10, AckWait: 30 * time.Second, Concurrency: 1, Prefetch: 64}
	option.Apply(&o, opts)
	o.Prefetch = max(o.Prefetch, o.Concurrency)
	return o
}

// MaxTypes is how many types one subscription may name.
const MaxTypes = wire.MaxTypes // 64

// The bounds of durable subscriptions.
const (
	MaxName     = 128 // bytes of a name
	MinAckWait  = 100 * time.Millisecond
	MaxAckWait  = time.Hour
	MaxPrefetch = 10_000
	MaxMaxTries = 1_000_000
)

// Validate returns an ErrInvalid that names every option with a bad value.
func (o ConsumeOptions) Validate() error {
	c := option.Of("event")
	_, err := plugin.NewFilter(o.Types...)
	c.That(err == nil, "Types", "%v", err)
	c.That(o.Name == "" || clean.Name(o.Name, MaxName), "Durable", "%.32q is not 1 to %d bytes of printable UTF-8", o.Name, MaxName)
	option.Within(c, "MaxTries", o.MaxTries, 0, MaxMaxTries)
	option.Within(c, "AckWait", o.AckWait, MinAckWait, MaxAckWait)
	option.Within(c, "Concurrency", o.Concurrency, 1, MaxPrefetch)
	option.Within(c, "Prefetch", o.Prefetch, 1, MaxPrefetch)
	c.That(o.Start != StartSequence || o.Sequence > 0, "FromSequence", "%d is less than 1", o.Sequence)
	c.That(o.Start != StartTime || o.Time.Unix() >= 0 && o.Time.Unix() < wire.MaxTime, "FromTime", "%v is out of range", o.Time)
	c.That(o.Name != "" || o.Concurrency == 1, "Concurrency", "%d needs Durable", o.Concurrency)
	c.That(o.Name != "" || !o.Ordered, "Ordered", "it needs Durable; without it all records are in order")
	return c.Err()
}

// Types selects records by exact types and prefixes as "a.*"; see
// Event.Subscribe.
func Types(types ...string) ConsumeOption {
	return func(o *ConsumeOptions) { o.Types = append(o.Types, types...) }
}

// FromNow begins with what is appended next, the default.
func FromNow() ConsumeOption { return func(o *ConsumeOptions) { o.Start = StartNow } }

// FromBeginning begins with the oldest record that is kept.
func FromBeginning() ConsumeOption { return func(o *ConsumeOptions) { o.Start = StartBeginning } }

// FromSequence begins with the record of the sequence, or the next that is
// kept.
func FromSequence(n uint64) ConsumeOption {
	return func(o *ConsumeOptions) { o.Start, o.Sequence = StartSequence, n }
}

// FromTime begins with the first record appended at t or later, by the clock
// of the log.
func FromTime(t time.Time) ConsumeOption {
	return func(o *ConsumeOptions) { o.Start, o.Time = StartTime, t }
}

// Durable makes the subscription one that the log keeps under the name. It is
// made by the first Consume of that name, whose From option says where it
// begins; every later one, in any process, goes on where the name is. Those
// that consume at the same time share the records: each is handled by one of
// them, and only by one whose Types select it. A type that none of them named
// before begins when the first that names it has joined. A record is delivered
// until it is acknowledged: at least once, again only after an error, a crash or
// AckWait. MaxTries, AckWait and Ordered are those of the Consume that came last.
func Durable(name string) ConsumeOption { return func(o *ConsumeOptions) { o.Name = name } }

// MaxTries bounds the deliveries of a record, after which it becomes a dead
// letter; default 10, 0 for no bound. A delivery that ended because the member
// died or hung with several records in its hands is not counted: the record is
// then delivered alone, and that delivery counts.
func MaxTries(n int) ConsumeOption { return func(o *ConsumeOptions) { o.MaxTries = n } }

// AckWait bounds the handling of one record, default 30 s: then its context
// ends and somebody else gets it. A member that died is noticed after that
// time, or five seconds if these are less.
func AckWait(d time.Duration) ConsumeOption { return func(o *ConsumeOptions) { o.AckWait = d } }

// Ordered has records with the same Key handled one after the other, in the
// order of the log, across all members: one that fails holds up its key alone.
func Ordered() ConsumeOption { return func(o *ConsumeOptions) { o.Ordered = true } }

// Concurrency sets how many records of a durable subscription this Consume
// handles at the same time, default 1.
func Concurrency(n int) ConsumeOption { return func(o *ConsumeOptions) { o.Concurrency = n } }

// Prefetch sets how many records of a durable subscription are underway to
// this Consume, those being handled included, default 64: with more one
// member handles faster, with fewer the work is shared more evenly.
func Prefetch(n int) ConsumeOption { return func(o *ConsumeOptions) { o.Prefetch = n } }
