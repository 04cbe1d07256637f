// Package event is an acknowledged, replayable stream of records between
// go-micro services. What Publish acknowledged is on disk and is not lost;
// Subscribe and Consume resume by themselves where they were.
//
// NewEvent talks to event-srv; event/nats uses JetStream directly and
// event/memory keeps the log in the process, for tests.
package event

import (
	"context"
	"time"

	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Event publishes and receives records. All methods are safe for concurrent
// use. The first call starts the Event, as Start does. After Stop the methods that
// can fail return ErrStopped.
type Event interface {
	// Publish appends the record to the log and returns when it is on disk.
	// It first gives the record an Id, a Type and a timestamp where it has
	// none: publishing the same record again after an error appends it once, and
	// sets Duplicate if the log had it already. A record that was changed since
	// is another event: Publish replaces an Id and a time that it made itself.
	//
	// The errors are ErrInvalid, which names the field; ErrConflict when the log
	// has another event of an Id that the caller chose; ErrUnavailable when
	// the log cannot be reached or cannot write; and that of ctx, after which the
	// record may be in the log or not. Without a deadline in ctx the option
	// Timeout bounds the call. The record must not be changed during the call.
	Publish(ctx context.Context, r *Record) error
	// PublishAll appends the records in order, one after the other, and waits
	// once. The error joins those of the records; a *RecordError names a record
	// that was refused. The others are appended unless the error is
	// ErrUnavailable or that of ctx.
	PublishAll(ctx context.Context, records []*Record) error
	// PublishAsync queues the record. Queued records are appended in the order of
	// the calls, and tried again until they are. While QueueSize records wait it
	// blocks until ctx ends. An error says that the record was not queued. Else done,
	// which may be nil, is called once: with nil when the record is on disk,
	// with an error when the log refused it or Stop came first. It is called
	// by the one sender and must not block; its first panic is logged. It gets a copy of the record as it
	// was at the call, with its Sequence: the caller may reuse its own.
	PublishAsync(ctx context.Context, r *Record, done func(*Record, error)) error
	// Flush waits until what was queued before is on disk, ctx ends or Stop
	// comes.
	Flush(ctx context.Context) error
	// Subscribe calls h, one record at a time and in order, for the records
	// appended from now on whose type is among types: an exact one, a prefix
	// as "a.*", or every type when none is given. It blocks until ctx ends,
	// whose error it returns, or Stop comes; it waits for a log that is not
	// there and reconnects for ever. Nothing is skipped while h is slow or the
	// log away, but what the log's retention removed: that is counted in
	// Dropped and logged. After a panic of h, which is logged, it goes on with
	// the next record.
	Subscribe(ctx context.Context, h Handler, types ...string) error
	// Consume calls c for the records that the options select, beginning with
	// history if they say so. Without the option Durable it is Subscribe with
	// a handler that can fail: its error ends Consume and is returned. With it
	// the log remembers which records were handled, across restarts of
	// everybody; see Durable.
	Consume(ctx context.Context, c Consumer, opts ...ConsumeOption) error
	// Dropped returns how many records were lost to subscribers of this Event
	// by retention, and how many given to PublishAsync were not appended.
	Dropped() uint64
	// Start begins to send what is queued. It does not wait for the log. It is
	// idempotent and returns an error that names the option with a bad value.
	Start() error
	// Stop ends all Subscribe and Consume calls and sends what is queued, within
	// about two seconds. It returns an ErrLost that counts the records that were
	// lost, and another error when a handler still runs.
	Stop() error
	// String returns the name of the plugin.
	String() string
}

// Record is one event.
type Record struct {
	// Id identifies the record for dedupe: an event that is in the log is not
	// appended again while the log's dedupe window lasts. At most MaxID bytes of
	// printable text. When it is empty Publish makes one that begins with "evt_".
	Id string
	// Type is what subscribers choose by, "order.created" say: at most MaxType
	// bytes of printable text, not ending in "*". Types that begin with
	// ReservedPrefix belong to the log. Empty is DefaultEventType.
	Type string
	// Origin is what the publisher calls itself; it is not authenticated. At most
	// MaxType bytes. Empty is the option Origin.
	Origin string
	// Timestamp is when it happened, unix seconds. Zero is now.
	Timestamp int64
	// RootId is the Id of the event that this one follows from.
	RootId string
	// Metadata is at most MaxMetadataKeys pairs in MaxMetadata bytes of UTF-8.
	Metadata map[string]string
	// Data is any bytes, as far as the whole record has at most MaxRecord.
	Data string

	// TimestampNano is the same in nanoseconds. It counts while it is within
	// the second of Timestamp or Timestamp is zero.
	TimestampNano int64
	// Key is what ordered subscriptions keep in order, an entity's id say. At
	// most MaxID bytes. Empty is RootId.
	Key string
	// Sequence is the record's place in the log, from 1 on. Publish and the
	// subscriptions set it.
	Sequence uint64
	// Duplicate reports whether Publish found the record in the log already, at
	// Sequence.
	Duplicate bool
}

// Time returns when it happened, zero if the record does not say.
func (r *Record) Time() time.Time { return (*wire.Record)(r).Time() }

// Handler is called with each record of a Subscribe.
type Handler func(*Record)

// The defaults of the contract. They are variables for the sake of programs
// written for the original go-platform; do not change them.
var (
	// RecordTopic is the broker topic that event-srv takes records from too,
	// best effort.
	RecordTopic = "micro.event.record"
	// DefaultEventType is the type of a record that has none.
	DefaultEventType = "event"
)

// ServiceName is the service behind the default plugin.
const ServiceName = "go.micro.srv.event"

// What a caller may branch on.
var (
	ErrInvalid     = rpcerr.ErrInvalid
	ErrConflict    = rpcerr.ErrConflict
	ErrUnavailable = rpcerr.ErrUnavailable
	ErrStopped     = lifecycle.ErrStopped
	// ErrLost is returned by Stop when queued records were not appended.
	ErrLost = lifecycle.ErrLost
)
