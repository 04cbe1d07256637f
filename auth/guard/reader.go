package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/internal/rpcerr"
)

// How long messages may take to arrive.
const (
	strangerMessage = 64 << 10        // the largest of a caller without a token
	strangerPiece   = 4 << 10         // of it, that is taken from the budgets before it arrives
	strangerTime    = 5 * time.Second // for it to arrive, from its headers on
	firstTime       = 30 * time.Second
	slowest         = 256 << 10 // bytes per second, after slowStart
	slowStart       = 10 * time.Second
)

// frames is the part of grpc's transport stream by which the length of a message
// can be read before the message. grpc's own RecvMsg takes no budget: it reads
// whatever length the header says.
type frames interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
	ContentSubtype() string
	RecvCompress() string
}

// reader is a stream that asks the budgets before it reads a message.
type reader struct {
	grpc.ServerStream
	call   *call
	frames frames // nil: another version of grpc, messages count as the largest
	header [5]byte
	first  bool
	timer  *time.Timer
}

func newReader(s grpc.ServerStream, c *call) *reader {
	r := &reader{ServerStream: s, call: c, first: true}
	r.frames, _ = grpc.ServerTransportStreamFromContext(s.Context()).(frames)
	return r
}

// RecvMsg implements grpc.ServerStream. A call must begin to send in time. After
// its first message a stream may wait for as long as it likes, but a message that
// has begun must arrive.
func (r *reader) RecvMsg(m any) error {
	switch {
	case !r.first:
	case r.call.stranger:
		r.alarm(r.call.guard.o.stranger)
	default:
		r.alarm(firstTime)
	}
	err := r.receive(m)
	r.silence()
	if r.first && err == nil {
		r.first = false
		r.call.share.settled()
	}
	return r.seen(err)
}

func (r *reader) receive(m any) error {
	if r.frames == nil {
		if err := r.reserve(r.call.guard.o.maxMessage); err != nil {
			return err
		}
		return r.ServerStream.RecvMsg(m)
	}
	if err := r.frames.ReadMessageHeader(r.header[:]); err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint32(r.header[1:]))
	if err := r.reserve(length); err != nil {
		return err
	}
	switch {
	case !r.call.stranger:
		r.alarm(slowStart + time.Duration(length)*time.Second/slowest)
	case !r.first: // the time of the first runs since its headers
		r.alarm(r.call.guard.o.stranger)
	}
	data, err := r.body(length)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return r.decode(data, m)
}

// body reads a message. That of a stranger is taken from the budgets as it
// arrives: who announces much and sends nothing takes nothing from others.
func (r *reader) body(length int) (mem.BufferSlice, error) {
	if !r.call.stranger {
		return r.frames.Read(length)
	}
	var data mem.BufferSlice
	for length > 0 {
		n := min(length, strangerPiece)
		if !r.call.share.more(int64(n)) {
			data.Free()
			return nil, errInFlight
		}
		piece, err := r.frames.Read(n)
		if err != nil {
			data.Free()
			return nil, err
		}
		data = append(data, piece...)
		length -= n
	}
	return data, nil
}

// reserve takes the budget of a message of n bytes, or refuses the message
// before it is read.
func (r *reader) reserve(n int) error {
	limit := r.call.guard.o.maxMessage
	if n > limit {
		return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", n, limit)
	}
	if r.call.stranger && r.frames != nil {
		if n > strangerMessage {
			return fmt.Errorf("a message of %d bytes: %w: at most %d without a token", n, rpcerr.ErrInvalid, strangerMessage)
		}
		n = 0 // body takes it
	}
	if !r.call.share.read(int64(n)) {
		return errInFlight
	}
	return nil
}

func (r *reader) decode(data mem.BufferSlice, m any) error {
	defer func() { data.Free() }()
	if r.header[0] == 1 {
		plain, err := r.decompress(data)
		if err != nil {
			return err
		}
		data.Free()
		data = plain
	}
	if err := unmarshal(r.frames.ContentSubtype(), data, m); err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	return nil
}

// decompress first takes the budget of the largest message that may come out.
func (r *reader) decompress(data mem.BufferSlice) (mem.BufferSlice, error) {
	name := r.frames.RecvCompress()
	c := encoding.GetCompressor(name)
	if c == nil {
		return nil, status.Errorf(codes.Unimplemented, "grpc: Decompressor is not installed for grpc-encoding %q", name)
	}
	limit := r.call.guard.o.maxMessage
	if r.call.stranger {
		limit = strangerMessage
	}
	if !r.call.share.read(int64(limit)) {
		return nil, errInFlight
	}
	in := data.Reader()
	plain, err := c.Decompress(in)
	if err != nil {
		return nil, errors.Join(status.Errorf(codes.Internal, "grpc: failed to decompress the received message: %v", err), in.Close())
	}
	out, err := io.ReadAll(io.LimitReader(plain, int64(limit)+1))
	switch {
	case err != nil:
		return nil, errors.Join(status.Errorf(codes.Internal, "grpc: failed to decompress the received message: %v", err), in.Close())
	case len(out) > limit:
		return nil, errors.Join(status.Errorf(codes.ResourceExhausted, "grpc: message after decompression larger than max %d", limit), in.Close())
	}
	return mem.BufferSlice{mem.SliceBuffer(out)}, in.Close()
}

// unmarshal decodes with the codec that grpc would choose.
func unmarshal(subtype string, data mem.BufferSlice, m any) error {
	if subtype == "" {
		subtype = proto.Name
	}
	if c := encoding.GetCodec(subtype); c != nil {
		return c.Unmarshal(data.Materialize(), m)
	}
	c := encoding.GetCodecV2(subtype)
	if c == nil {
		c = encoding.GetCodecV2(proto.Name)
	}
	return c.Unmarshal(data, m)
}

// seen gives an error the form that RecvMsg of grpc gives it.
func (r *reader) seen(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case r.call.slow.Load():
		return r.call.guard.refuse(errSlow)
	case errors.Is(err, errInFlight), errors.Is(err, rpcerr.ErrInvalid):
		return r.call.guard.refuse(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return status.Error(codes.Internal, io.ErrUnexpectedEOF.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.FromContextError(err).Err()
}

// alarm ends the call unless silence is called within d.
func (r *reader) alarm(d time.Duration) {
	if r.timer == nil {
		r.timer = time.AfterFunc(d, func() {
			r.call.slow.Store(true)
			r.call.cancel()
		})
		return
	}
	r.timer.Reset(d)
}

func (r *reader) silence() {
	if r.timer != nil {
		r.timer.Stop()
	}
}
