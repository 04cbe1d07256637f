// Package wire is what the plugins of event and event-srv agree on: the form and
// the bounds of records, and the names of streams.
package wire

import (
	"maps"
	"time"
	"unicode/utf8"

	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/clean"
)

// The bounds of a record, in bytes but for MaxMetadataKeys.
const (
	MaxRecord       = 1 << 20
	MaxID           = 256
	MaxType         = 256
	MaxMetadata     = clean.MaxBytes
	MaxMetadataKeys = clean.MaxPairs
)

// MaxTypes is how many types one subscription may name.
const MaxTypes = 64

// MaxTime is the year 2262 in unix seconds: the last whose nanoseconds are an
// int64.
const MaxTime = 9223372036

// ReservedPrefix begins the types that the log itself appends.
const ReservedPrefix = "micro.event."

// Record has the fields of event.Record, to which it converts: that package needs
// this one, and cannot be imported here.
type Record struct {
	Id, Type, Origin string
	Timestamp        int64
	RootId           string
	Metadata         map[string]string
	Data             string
	TimestampNano    int64
	Key              string
	Sequence         uint64
	Duplicate        bool
}

// Time returns when it happened, zero if the record does not say.
func (r *Record) Time() time.Time {
	switch {
	case r.TimestampNano != 0 && (r.Timestamp == 0 || floorSecond(r.TimestampNano) == r.Timestamp):
		return time.Unix(0, r.TimestampNano)
	case r.Timestamp != 0:
		return time.Unix(r.Timestamp, 0)
	}
	return time.Time{}
}

func floorSecond(nano int64) int64 { return time.Unix(0, nano).Unix() }

// Message returns the record as it goes over the wire.
func Message(r *Record) *pb.Record {
	m := &pb.Record{
		Id: r.Id, Type: r.Type, Origin: r.Origin, RootId: r.RootId, Key: r.Key,
		Timestamp: r.Timestamp, Metadata: r.Metadata, Sequence: r.Sequence,
	}
	if at := r.Time(); !at.IsZero() {
		m.Timestamp, m.TimestampNano = at.Unix(), at.UnixNano()
	}
	if utf8.ValidString(r.Data) {
		m.Data = r.Data
	} else {
		m.Binary = []byte(r.Data)
	}
	return m
}

// FromMessage returns the record of a message, which it shares nothing with.
func FromMessage(m *pb.Record) *Record {
	r := &Record{
		Id: m.Id, Type: m.Type, Origin: m.Origin, RootId: m.RootId, Key: m.Key,
		Timestamp: m.Timestamp, TimestampNano: m.TimestampNano,
		Metadata: maps.Clone(m.Metadata), Data: m.Data, Sequence: m.Sequence,
	}
	if len(m.Binary) > 0 {
		r.Data = string(m.Binary)
	}
	if at := r.Time(); !at.IsZero() {
		r.Timestamp, r.TimestampNano = at.Unix(), at.UnixNano()
	}
	return r
}
