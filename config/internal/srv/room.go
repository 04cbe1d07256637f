package srv

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpcerr"
)

// What an answer may have, in bytes. A default grpc client takes messages of up to
// 4 MiB.
const (
	maxMessage = 4<<20 - 64<<10
	maxAnswer  = 2 << 20    // data of a list; entries beyond it come without
	maxRead    = maxMessage // data of one config; the rest of a message is far smaller
)

// room is what is left in an answer that lists something.
type room struct{ data, all int }

func newRoom() *room { return &room{maxAnswer, maxMessage} }

// take reports whether there is room for one more entry.
func (r *room) take(entry proto.Message) bool {
	const frame = 16 // tag and length of an entry, at most
	r.all -= proto.Size(entry) + frame
	return r.all >= 0
}

// tooLarge is for a config that fits no message together with what it inherits.
func tooLarge(id string, size int) error {
	return fmt.Errorf("%w: %s with what it inherits is %d bytes, more than %d: read it path by path", rpcerr.ErrInvalid, id, size, maxRead)
}
