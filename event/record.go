package event

import (
	"time"

	"github.com/micro/go-platform/event/internal/wire"
	pb "github.com/micro/go-platform/event/proto"
)

// The bounds of a record, in bytes but for MaxMetadataKeys.
const (
	MaxRecord       = wire.MaxRecord       // 1 MiB
	MaxID           = wire.MaxID           // 256
	MaxType         = wire.MaxType         // 256
	MaxMetadata     = wire.MaxMetadata     // 8 KiB
	MaxMetadataKeys = wire.MaxMetadataKeys // 64
)

// ReservedPrefix begins the types that the log itself appends. Subscriptions
// to all types leave them out.
const ReservedPrefix = wire.ReservedPrefix // "micro.event."

// complete gives the record what Publish promises.
func complete(r *Record, origin string) {
	r.Duplicate = false
	if r.Type == "" {
		r.Type = DefaultEventType
	}
	if r.Origin == "" {
		r.Origin = origin
	}
	made, ours := parseID(r.Id)
	reused := ours && made.content != contentOf(r)
	at := r.Time()
	now := at.IsZero() || reused && made.now && made.time == timeOf(at)
	if now {
		at = time.Now()
	}
	r.Timestamp, r.TimestampNano = at.Unix(), at.UnixNano()
	if r.Id == "" || reused || ours && made.time != timeOf(at) {
		r.Id = newID(r, now)
	}
}

// toMessage returns the record as it goes over the wire.
func toMessage(r *Record) *pb.Record { return wire.Message((*wire.Record)(r)) }

// fromMessage returns the record of a message, which it shares nothing with.
func fromMessage(m *pb.Record) *Record { return (*Record)(wire.FromMessage(m)) }
