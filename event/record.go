package event

import (
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

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

// ReservedPrefix begins the types that the log itself appends. Subscriptions
// to all types leave them out.
const ReservedPrefix = "micro.event."

const maxTime = 9223372036 // the year 2262, unix seconds: the last whose nanoseconds are an int64

// complete gives the record what Publish promises.
func complete(r *Record, origin string) {
	if r.Id == "" {
		r.Id = uuid.NewString()
	}
	if r.Type == "" {
		r.Type = DefaultEventType
	}
	if r.Origin == "" {
		r.Origin = origin
	}
	at := r.Time()
	if at.IsZero() {
		at = time.Now()
	}
	r.Timestamp, r.TimestampNano = at.Unix(), at.UnixNano()
}

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

// Validate returns an ErrInvalid that names the field of a message which the
// log must not take.
func Validate(m *pb.Record) error {
	text := func(field, s string, limit int, empty bool) error {
		if s == "" && empty || clean.Name(s, limit) {
			return nil
		}
		return fmt.Errorf("%w: record.%s: want 1 to %d bytes of printable UTF-8", ErrInvalid, field, limit)
	}
	if m == nil {
		return fmt.Errorf("%w: record: missing", ErrInvalid)
	}
	for _, err := range []error{
		text("id", m.Id, MaxID, false),
		text("type", m.Type, MaxType, false),
		text("origin", m.Origin, MaxType, true),
		text("root_id", m.RootId, MaxID, true),
		text("key", m.Key, MaxID, true),
		validateRest(m),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func validateRest(m *pb.Record) error {
	switch {
	case strings.HasSuffix(m.Type, "*"):
		return fmt.Errorf("%w: record.type: ends in *", ErrInvalid)
	case strings.HasPrefix(m.Type, ReservedPrefix):
		return fmt.Errorf("%w: record.type: begins with %s, which is reserved", ErrInvalid, ReservedPrefix)
	case m.Timestamp < 0 || m.Timestamp >= maxTime:
		return fmt.Errorf("%w: record.timestamp: %d is not within 0..%d seconds", ErrInvalid, m.Timestamp, int64(maxTime-1))
	case m.TimestampNano < 0:
		return fmt.Errorf("%w: record.timestamp_nano: negative", ErrInvalid)
	case m.Data != "" && len(m.Binary) > 0:
		return fmt.Errorf("%w: record.binary: beside data", ErrInvalid)
	case len(m.Metadata) > MaxMetadataKeys:
		return fmt.Errorf("%w: record.metadata: more than %d keys", ErrInvalid, MaxMetadataKeys)
	}
	size := 0
	for k, v := range m.Metadata {
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%w: record.metadata: a key is empty, or a pair is not UTF-8", ErrInvalid)
		}
		size += len(k) + len(v)
	}
	if size > MaxMetadata {
		return fmt.Errorf("%w: record.metadata: %d bytes, more than %d", ErrInvalid, size, MaxMetadata)
	}
	if size := proto.Size(m); size > MaxRecord {
		return fmt.Errorf("%w: record: %d bytes, more than %d", ErrInvalid, size, MaxRecord)
	}
	return nil
}
