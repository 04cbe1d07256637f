package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Validate returns an ErrInvalid that names the field of a message which the
// log must not take.
func Validate(m *pb.Record) error {
	text := func(field, s string, limit int, empty bool) error {
		if s == "" && empty || clean.Name(s, limit) {
			return nil
		}
		return fmt.Errorf("%w: record.%s: want 1 to %d bytes of printable UTF-8", rpcerr.ErrInvalid, field, limit)
	}
	if m == nil {
		return fmt.Errorf("%w: record: missing", rpcerr.ErrInvalid)
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
		return fmt.Errorf("%w: record.type: ends in *", rpcerr.ErrInvalid)
	case strings.HasPrefix(m.Type, ReservedPrefix):
		return fmt.Errorf("%w: record.type: begins with %s, which is reserved", rpcerr.ErrInvalid, ReservedPrefix)
	case m.Timestamp < 0 || m.Timestamp >= MaxTime:
		return fmt.Errorf("%w: record.timestamp: %d is not within 0..%d seconds", rpcerr.ErrInvalid, m.Timestamp, int64(MaxTime-1))
	case m.TimestampNano < 0:
		return fmt.Errorf("%w: record.timestamp_nano: negative", rpcerr.ErrInvalid)
	case m.Data != "" && len(m.Binary) > 0:
		return fmt.Errorf("%w: record.binary: beside data", rpcerr.ErrInvalid)
	case len(m.Metadata) > MaxMetadataKeys:
		return fmt.Errorf("%w: record.metadata: more than %d keys", rpcerr.ErrInvalid, MaxMetadataKeys)
	}
	size := 0
	for k, v := range m.Metadata {
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%w: record.metadata: a key is empty, or a pair is not UTF-8", rpcerr.ErrInvalid)
		}
		size += len(k) + len(v)
	}
	if size > MaxMetadata {
		return fmt.Errorf("%w: record.metadata: %d bytes, more than %d", rpcerr.ErrInvalid, size, MaxMetadata)
	}
	if size := proto.Size(m); size > MaxRecord {
		return fmt.Errorf("%w: record: %d bytes, more than %d", rpcerr.ErrInvalid, size, MaxRecord)
	}
	return nil
}

// StreamName reports whether a stream of JetStream may have the name.
func StreamName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
