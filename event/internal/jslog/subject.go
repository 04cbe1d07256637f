package jslog

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// The kinds of messages.
const (
	ordinary   = "e"
	deadLetter = "d"
)

// subject is where a record goes.
func (s *Stream) subject(r *pb.Record) string {
	return s.name + "." + kind(r.Type) + "." + strconv.FormatUint(uint64(part(r)), 16) + "." + escape(r.Type)
}

func kind(typ string) string {
	if strings.HasPrefix(typ, event.ReservedPrefix) {
		return deadLetter
	}
	return ordinary
}

func part(r *pb.Record) uint32 {
	key := r.Key
	if key == "" {
		key = r.RootId
	}
	if key == "" {
		key = r.Id
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash takes everything
	return h.Sum32() % Parts
}

// escape makes a type tokens of a subject: what these may not hold is written
// as in URLs, and an empty token as a single percent sign.
func escape(typ string) string {
	var b strings.Builder
	for i, token := range strings.Split(typ, ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		if token == "" {
			b.WriteByte('%')
		}
		for _, c := range []byte(token) {
			switch {
			case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '_':
				b.WriteByte(c)
			default:
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
	}
	return b.String()
}

// Filter returns the one subject that all records of the types match, in the
// part or in all with "*". It may match more: old servers take one subject.
func (s *Stream) Filter(f plugin.Filter, part string) string {
	exact, prefixes := f.Exact(), f.Prefixes()
	switch {
	case len(exact) == 1 && len(prefixes) == 0 && !f.All():
		return s.name + "." + kind(exact[0]) + "." + part + "." + escape(exact[0])
	case len(exact) == 0 && len(prefixes) == 1 && !f.All() && !strings.HasPrefix(event.ReservedPrefix, prefixes[0]):
		p := strings.TrimSuffix(prefixes[0], ".")
		return s.name + "." + kind(prefixes[0]) + "." + part + "." + escape(p) + ".>"
	case len(exact) == 0 && len(prefixes) == 0:
		return s.name + "." + ordinary + "." + part + ".>"
	}
	return s.name + ".*." + part + ".>"
}
