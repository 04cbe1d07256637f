package event

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/event/internal/wire"
)

// idPrefix begins the ids that Publish makes.
const idPrefix = "evt_"

// madeID is what an id that Publish made says about its record. It tells a record
// that is published again after an error from a variable that was reused for the
// next record, or a received record that is published as something else.
type madeID struct {
	content [8]byte
	time    [4]byte
	now     bool // Publish made the time, too
}

const (
	randomBytes = 16
	idBytes     = randomBytes + 8 + 4 + 1
)

func newID(r *Record, now bool) string {
	b := make([]byte, randomBytes, idBytes)
	_, _ = rand.Read(b) // it never fails
	content, at := contentOf(r), timeOf(r.Time())
	b = append(append(b, content[:]...), at[:]...)
	flag := byte(0)
	if now {
		flag = 1
	}
	return idPrefix + base64.RawURLEncoding.EncodeToString(append(b, flag))
}

// parseID reports whether Publish made the id.
func parseID(id string) (madeID, bool) {
	text, ok := strings.CutPrefix(id, idPrefix)
	if !ok {
		return madeID{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != idBytes || b[idBytes-1] > 1 {
		return madeID{}, false
	}
	m := madeID{now: b[idBytes-1] == 1}
	copy(m.content[:], b[randomBytes:])
	copy(m.time[:], b[randomBytes+8:])
	return m, true
}

// contentOf returns a checksum of what identifies the event, but for its time.
func contentOf(r *Record) (sum [8]byte) {
	h := sha256.New()
	put := func(s string) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(s)))) // a hash takes everything
		_, _ = h.Write([]byte(s))
	}
	for _, s := range []string{r.Type, r.Origin, r.RootId, r.Key, r.Data} {
		put(s)
	}
	own := wire.Own(r.Metadata)
	for _, k := range slices.Sorted(maps.Keys(own)) {
		put(k)
		put(own[k])
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

func timeOf(t time.Time) (sum [4]byte) {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano())))
	copy(sum[:], h[:])
	return sum
}
