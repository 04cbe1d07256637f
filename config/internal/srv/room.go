package srv

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpcerr"
)

// The bounds of an answer, in bytes. A default grpc client takes messages of up to
// 4 MiB.
const (
	maxMessage = 4<<20 - 64<<10
	maxAnswer  = 2 << 20    // data in a list; entries beyond it come without data
	maxRead    = maxMessage // data of one config; the rest of a message is far smaller
)

// room is how many bytes are left in an answer that is a list.
type room struct{ data, all int }

func newRoom() *room { return &room{maxAnswer, maxMessage} }

// take subtracts an entry and reports whether there was room for it.
func (r *room) take(entry proto.Message) bool {
	const frame = 16 // tag and length of an entry, at most
	r.all -= proto.Size(entry) + frame
	return r.all >= 0
}

// tooLarge is the error of a config that, with what it inherits, does not fit into a
// message.
func tooLarge(id string, size int) error {
	return fmt.Errorf("%w: %s with what it inherits is %d bytes, more than %d: read it path by path", rpcerr.ErrInvalid, id, size, maxRead)
}
