// Package jslog keeps the log of event in a stream of NATS JetStream. event/nats
// and event-srv's NATS store share the layout, so that a stream may be used by
// both: subjects STREAM.KIND.PART.TYPE, where KIND is e for records and d for
// dead letters, PART is one of Parts by key and TYPE the escaped type, with the
// record's protobuf message as the payload.
package jslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
)

// Parts is how many parts the keys are spread over.
const Parts = 16

// Connect returns a connection that is made in the background and made again
// for ever.
func Connect(servers []string, tlsConfig *tls.Config, name string) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(300*time.Millisecond, time.Second),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.ReconnectBufSize(-1), // what cannot be sent is an error, not a surprise later
	}
	if tlsConfig != nil {
		opts = append(opts, nats.Secure(tlsConfig))
	}
	if len(servers) == 0 {
		servers = []string{nats.DefaultURL}
	}
	nc, err := nats.Connect(strings.Join(servers, ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}

// Config is what a stream is made with. One that exists is used as it is.
type Config struct {
	Name     string
	MaxAge   time.Duration // 0: for ever
	MaxBytes int64         // 0: no bound
	Window   time.Duration // in which ids are known
}

// Stream is the log.
type Stream struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string
	id     string
}

// Open returns the stream, which it makes when there is none.
func Open(ctx context.Context, nc *nats.Conn, conf Config) (*Stream, error) {
	if !nc.IsConnected() {
		return nil, fmt.Errorf("%w: not connected to NATS", event.ErrUnavailable)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, Wrap(err, "open JetStream")
	}
	stream, err := js.Stream(ctx, conf.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		maxBytes := conf.MaxBytes
		if maxBytes == 0 {
			maxBytes = -1
		}
		window := conf.Window
		if conf.MaxAge > 0 {
			window = min(window, conf.MaxAge)
		}
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: conf.Name, Subjects: []string{conf.Name + ".>"}, Storage: jetstream.FileStorage,
			MaxAge: conf.MaxAge, MaxBytes: maxBytes, Duplicates: window, MaxMsgSize: 2 * event.MaxRecord,
		})
	}
	if err != nil {
		return nil, Wrap(err, "open stream "+conf.Name)
	}
	id := strconv.FormatInt(stream.CachedInfo().Created.UnixNano(), 36)
	return &Stream{nc, js, stream, conf.Name, conf.Name + "." + id}, nil
}

// Wrap makes any error but those of a context ErrUnavailable.
func Wrap(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, event.ErrUnavailable, err)
}

// ID names the log.
func (s *Stream) ID() string { return s.id }

// JetStream is what the stream was opened with.
func (s *Stream) JetStream() jetstream.JetStream { return s.js }

// Name returns the name of the stream.
func (s *Stream) Name() string { return s.name }

// Bounds returns the sequence before the first record and that of the last.
func (s *Stream) Bounds(ctx context.Context) (expired, last uint64, err error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, 0, Wrap(err, "look at stream "+s.name)
	}
	if info.Created.UnixNano() != s.created() {
		return 0, 0, fmt.Errorf("%w: stream %s is a new one", event.ErrUnavailable, s.name)
	}
	return max(info.State.FirstSeq, 1) - 1, info.State.LastSeq, nil
}

func (s *Stream) created() int64 {
	n, err := strconv.ParseInt(s.id[len(s.name)+1:], 36, 64)
	if err != nil {
		return 0 // never: Open wrote it
	}
	return n
}

// Append publishes the records in order and waits until all are acknowledged.
// Those of again are appended although their ids are known.
func (s *Stream) Append(ctx context.Context, records []*pb.Record, again func(i int) bool) ([]*pb.Result, error) {
	if !s.conn.IsConnected() {
		return nil, fmt.Errorf("%w: not connected to NATS", event.ErrUnavailable)
	}
	acks := make([]jetstream.PubAckFuture, 0, len(records))
	for i, r := range records {
		data, err := proto.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("%w: record: %w", event.ErrInvalid, err)
		}
		opts := []jetstream.PublishOpt{jetstream.WithExpectStream(s.name)}
		if again == nil || !again(i) {
			opts = append(opts, jetstream.WithMsgID(r.Id))
		}
		ack, err := s.js.PublishMsgAsync(&nats.Msg{Subject: s.subject(r), Data: data, Header: nats.Header{}}, opts...)
		if err != nil {
			return nil, Wrap(err, "publish")
		}
		acks = append(acks, ack)
	}
	results := make([]*pb.Result, len(acks))
	for i, ack := range acks {
		select {
		case a := <-ack.Ok():
			results[i] = &pb.Result{Sequence: a.Sequence, Duplicate: a.Duplicate}
		case err := <-ack.Err():
			return nil, Wrap(err, "publish")
		case <-ctx.Done():
			return nil, fmt.Errorf("publish: %w", ctx.Err())
		}
	}
	return results, nil
}

// subject is where a record goes.
func (s *Stream) subject(r *pb.Record) string {
	return s.name + "." + kind(r.Type) + "." + strconv.FormatUint(uint64(part(r)), 16) + "." + escape(r.Type)
}

func kind(typ string) string {
	if strings.HasPrefix(typ, event.ReservedPrefix) {
		return "d"
	}
	return "e"
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
func (s *Stream) Filter(f event.Filter, part string) string {
	exact, prefixes := f.Exact(), f.Prefixes()
	switch {
	case len(exact) == 1 && len(prefixes) == 0 && !f.All():
		return s.name + "." + kind(exact[0]) + "." + part + "." + escape(exact[0])
	case len(exact) == 0 && len(prefixes) == 1 && !strings.HasPrefix(event.ReservedPrefix, prefixes[0]):
		p := strings.TrimSuffix(prefixes[0], ".")
		return s.name + "." + kind(prefixes[0]) + "." + part + "." + escape(p) + ".>"
	case len(exact) == 0 && len(prefixes) == 0:
		return s.name + ".e." + part + ".>"
	}
	return s.name + ".*." + part + ".>"
}

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
	c, err := s.Consumer(ctx, s.name+".>", At(nano))
	if err != nil {
		return 0, err
	}
	defer s.Forget(c)
	batch, err := c.FetchNoWait(1)
	if err != nil {
		return 0, Wrap(err, "find a time in stream "+s.name)
	}
	if msg, ok := <-batch.Messages(); ok {
		meta, err := msg.Metadata()
		if err != nil {
			return 0, Wrap(err, "find a time in stream "+s.name)
		}
		return meta.Sequence.Stream - 1, nil
	}
	return last, Wrap(batch.Error(), "find a time in stream "+s.name)
}

// Forget removes an ephemeral consumer. One that cannot be removed goes away by
// itself.
func (s *Stream) Forget(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.stream.DeleteConsumer(ctx, c.CachedInfo().Name) // said above
}

// Delete erases the message of a sequence.
func (s *Stream) Delete(ctx context.Context, sequence uint64) error {
	return Wrap(s.stream.SecureDeleteMsg(ctx, sequence), "erase from stream "+s.name)
}

// Durable returns the durable consumer of the name, with what it may be told
// anew taken from conf and where it begins only when it is made.
func (s *Stream) Durable(ctx context.Context, conf jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := s.stream.Consumer(ctx, conf.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		if c, err = s.stream.CreateConsumer(ctx, conf); errors.Is(err, jetstream.ErrConsumerExists) {
			c, err = s.stream.Consumer(ctx, conf.Durable) // somebody was faster
		}
	case err == nil:
		had := c.CachedInfo().Config
		conf.DeliverPolicy, conf.OptStartSeq, conf.OptStartTime = had.DeliverPolicy, had.OptStartSeq, had.OptStartTime
		if had.FilterSubject != conf.FilterSubject || had.AckWait != conf.AckWait {
			c, err = s.stream.UpdateConsumer(ctx, conf)
		}
	}
	if err != nil {
		return nil, Wrap(err, "durable consumer "+conf.Durable)
	}
	return c, nil
}
