package jslog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
)

// Decode returns the record of a message and how many follow it.
func Decode(msg jetstream.Msg) (*pb.Record, *jetstream.MsgMetadata, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, nil, fmt.Errorf("message without metadata: %w", err)
	}
	r := &pb.Record{}
	if err := proto.Unmarshal(msg.Data(), r); err != nil {
		return nil, meta, fmt.Errorf("message %d is no record: %w", meta.Sequence.Stream, err)
	}
	r.Sequence, r.Appended = meta.Sequence.Stream, meta.Timestamp.UnixNano()
	return r, meta, nil
}

// Get returns the record of a sequence, or nil when the message is gone or is not a
// record.
func (s *Stream) Get(ctx context.Context, sequence uint64) (*pb.Record, error) {
	msg, err := s.stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, Wrap(err, "read stream "+s.name)
	}
	r := &pb.Record{}
	if proto.Unmarshal(msg.Data, r) != nil {
		return nil, nil // a message of another program
	}
	return r, nil
}

// Consumer returns an ephemeral consumer that acknowledges nothing. It goes
// away when nobody asks it for 30 s.
func (s *Stream) Consumer(ctx context.Context, filter string, start jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	start.FilterSubject = filter
	start.AckPolicy = jetstream.AckNonePolicy
	start.InactiveThreshold = 30 * time.Second
	start.MemoryStorage = true
	start.Replicas = 1
	c, err := s.stream.CreateConsumer(ctx, start)
	if err != nil {
		return nil, Wrap(err, "read stream "+s.name)
	}
	return c, nil
}

// After configures a consumer that begins after a sequence.
func After(sequence uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: sequence + 1}
}

// At configures a consumer that begins at a time.
func At(nano int64) jetstream.ConsumerConfig {
	t := time.Unix(0, nano)
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &t}
}

// Before returns the last sequence that was appended before a time.
func (s *Stream) Before(ctx context.Context, nano int64) (uint64, error) {
	_, last, err := s.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	return s.BeforeFirst(ctx, s.name+".>", At(nano), last)
}

// BeforeFirst returns the sequence before that of the first message which a
// consumer with the filter has that begins so, or last when it has none.
func (s *Stream) BeforeFirst(ctx context.Context, filter string, begin jetstream.ConsumerConfig, last uint64) (uint64, error) {
	c, err := s.Consumer(ctx, filter, begin)
	if err != nil {
		return 0, err
	}
	defer s.Forget(c)
	_, err = s.Page(c, 1, func(_ *pb.Record, meta *jetstream.MsgMetadata) bool {
		last = meta.Sequence.Stream - 1
		return true
	})
	return last, err
}

// Page hands over the messages that a new consumer has, up to limit, until
// there were enough, and reports whether there are no more. The record is nil
// when the message is not a record. That a fetch of nats.go ended proves nothing:
// it also ends without an error when nothing arrived for a second, or when the
// connection was lost and some are missing. The pending count of each message does.
func (s *Stream) Page(c jetstream.Consumer, limit int, see func(*pb.Record, *jetstream.MsgMetadata) (more bool)) (end bool, err error) {
	doing := "read stream " + s.name
	batch, err := c.FetchNoWait(limit)
	if err != nil {
		return false, Wrap(err, doing)
	}
	left, seen := c.CachedInfo().NumPending, uint64(0)
	for msg := range batch.Messages() {
		r, meta, err := Decode(msg)
		if meta == nil {
			return false, Wrap(err, doing)
		}
		if meta.Sequence.Consumer != seen+1 {
			break
		}
		seen, left = seen+1, meta.NumPending
		if !see(r, meta) {
			return false, nil
		}
	}
	if err := batch.Error(); err != nil {
		return false, Wrap(err, doing)
	}
	if left > 0 && seen == 0 {
		return false, fmt.Errorf("%s: %w: no answer", doing, event.ErrUnavailable)
	}
	return left == 0, nil
}

// Forget removes an ephemeral consumer. One that cannot be removed goes away by
// itself.
func (s *Stream) Forget(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.stream.DeleteConsumer(ctx, c.CachedInfo().Name) // said above
}
