package jslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
)

// Append publishes the records in order and waits until all are acknowledged.
// Those of again are appended although their ids are known. The Error of a
// result says that NATS will never take that record, as when it is too large;
// of a dead letter it takes what fits.
func (s *Stream) Append(ctx context.Context, records []*pb.Record, again func(i int) bool) ([]*pb.Result, error) {
	if err := s.Connected(); err != nil {
		return nil, err
	}
	results := make([]*pb.Result, len(records))
	acks := make([]jetstream.PubAckFuture, len(records))
	for i, r := range records {
		ack, err := s.publish(r, again != nil && again(i))
		if refused := refusal(r, err); refused != nil {
			results[i] = refused
		} else if err != nil {
			return nil, Wrap(err, "publish")
		}
		acks[i] = ack
	}
	for i, ack := range acks {
		if results[i] != nil {
			continue
		}
		var err error
		if results[i], err = acknowledged(ctx, records[i], ack); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// publish sends the record once: nats.go would send what nobody took again
// later, behind its successors.
func (s *Stream) publish(r *pb.Record, again bool) (jetstream.PubAckFuture, error) {
	if kind(r.Type) == deadLetter {
		r = s.fit(r)
	}
	data, err := proto.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrInvalid, err)
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectStream(s.name), jetstream.WithRetryAttempts(0)}
	if !again {
		opts = append(opts, jetstream.WithMsgID(r.Id))
	}
	return s.js.PublishMsgAsync(&nats.Msg{Subject: s.subject(r), Data: data, Header: nats.Header{}}, opts...)
}

func acknowledged(ctx context.Context, r *pb.Record, ack jetstream.PubAckFuture) (*pb.Result, error) {
	select {
	case a := <-ack.Ok():
		return &pb.Result{Sequence: a.Sequence, Duplicate: a.Duplicate}, nil
	case err := <-ack.Err():
		if refused := refusal(r, err); refused != nil {
			return refused, nil
		}
		return nil, Wrap(err, "publish")
	case <-ctx.Done():
		return nil, fmt.Errorf("publish: %w", ctx.Err())
	}
}

// refusal is the result of a record that no other try will append, or nil.
func refusal(r *pb.Record, err error) *pb.Result {
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return &pb.Result{Error: fmt.Sprintf("record: %d bytes, with its headers more than NATS takes (max_payload, or the stream's max_msg_size)", proto.Size(r))}
	case errors.Is(err, event.ErrInvalid):
		return &pb.Result{Error: "record: " + err.Error()}
	}
	return nil
}

// headRoom is more than the headers of a message take, and what says that a
// dead letter was cut: an id, the stream's name and less than 200 bytes.
const headRoom = 1024

// fit returns a dead letter that NATS takes: it is longer than its record,
// which may have just fitted.
func (s *Stream) fit(r *pb.Record) *pb.Record {
	most := int(s.js.Conn().MaxPayload())
	if own := int(s.stream.CachedInfo().Config.MaxMsgSize); own > 0 {
		most = min(most, own)
	}
	over := proto.Size(r) - (most - headRoom)
	if over <= 0 {
		return r
	}
	r = proto.CloneOf(r)
	had := len(r.Data) + len(r.Binary)
	r.Binary = r.Binary[:max(len(r.Binary)-over, 0)]
	r.Data = strings.ToValidUTF8(r.Data[:max(len(r.Data)-over, 0)], "") // without half a letter at its end
	r.Metadata[event.DeadCut] = strconv.Itoa(had - len(r.Data) - len(r.Binary))
	return r
}
