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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/clean"
)

// Parts is how many parts the keys are spread over.
const Parts = 16

// Connect returns JetStream on a connection that is made in the background and
// made again for ever. One is enough for all that the connection is used for:
// each has a goroutine and a subscription as long as the connection.
func Connect(servers []string, tlsConfig *tls.Config, name string) (jetstream.JetStream, error) {
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
		return nil, fmt.Errorf("connect to NATS: %w", clean.URLError(err))
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(forgetAck))
	if err != nil {
		nc.Close()
		return nil, Wrap(err, "open JetStream")
	}
	return js, nil
}

// forgetAck is when an acknowledgement is not waited for any more, long after
// whoever published gave up: there is only room for so many.
const forgetAck = time.Minute

// Config is what a stream is made with. One that exists is used as it is.
type Config struct {
	Name     string
	MaxAge   time.Duration // 0: for ever
	MaxBytes int64         // 0: no bound
	Window   time.Duration // in which ids are known
}

// Stream is the log.
type Stream struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string
	id     string
}

// Open returns the stream, which it makes when there is none.
func Open(ctx context.Context, js jetstream.JetStream, conf Config) (*Stream, error) {
	if err := connected(js); err != nil {
		return nil, err
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
	if err := suitable(stream.CachedInfo().Config); err != nil {
		return nil, err
	}
	id := strconv.FormatInt(stream.CachedInfo().Created.UnixNano(), 36)
	return &Stream{js, stream, conf.Name, conf.Name + "." + id}, nil
}

// suitable refuses a stream whose settings cannot keep the promises of the log: it
// would acknowledge records and lose them, or show them to one reader only.
func suitable(c jetstream.StreamConfig) error {
	for _, bad := range []struct {
		is            bool
		setting, want string
	}{
		{c.Retention != jetstream.LimitsPolicy, "retention " + strings.ToLower(c.Retention.String()), "limits: others remove records that somebody has read"},
		{c.Storage != jetstream.FileStorage, "storage memory", "file: acknowledged records are on disk"},
		{c.NoAck, "no_ack", "acknowledgements"},
		{c.MaxMsgsPerSubject > 0, fmt.Sprint("max_msgs_per_subject ", c.MaxMsgsPerSubject), "none: it removes records from the middle of the log"},
		{c.Sealed, "sealed", "one that takes records"},
		{c.Mirror != nil, "mirror", "one that takes records"},
		{!slices.Contains(c.Subjects, c.Name+".>"), fmt.Sprintf("subjects %q", c.Subjects), c.Name + ".>"},
	} {
		if bad.is {
			return fmt.Errorf("%w: stream %s has the setting %s: want %s; change it with the nats tool, or use another stream", event.ErrInvalid, c.Name, bad.setting, bad.want)
		}
	}
	return nil
}

func connected(js jetstream.JetStream) error {
	if js.Conn().IsConnected() {
		return nil
	}
	return fmt.Errorf("%w: not connected to NATS", event.ErrUnavailable)
}

// Connected returns ErrUnavailable while the connection is lost.
func (s *Stream) Connected() error { return connected(s.js) }

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

// Name returns the name of the stream.
func (s *Stream) Name() string { return s.name }

// ErrReplaced is the error of Bounds when the stream was removed and made again.
var ErrReplaced = errors.New("it is a new one")

// Bounds returns the sequence before the first record and that of the last.
func (s *Stream) Bounds(ctx context.Context) (expired, last uint64, err error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, 0, Wrap(err, "look at stream "+s.name)
	}
	if info.Created.UnixNano() != s.created() {
		return 0, 0, fmt.Errorf("%w: stream %s: %w", event.ErrUnavailable, s.name, ErrReplaced)
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
		if had.FilterSubject != conf.FilterSubject || had.AckWait != conf.AckWait || had.Description != conf.Description {
			c, err = s.stream.UpdateConsumer(ctx, conf)
		}
	}
	if err != nil {
		return nil, Wrap(err, "durable consumer "+conf.Durable)
	}
	return c, nil
}

// DurableInfo returns what is known of the durable consumer, or nil when there
// is none.
func (s *Stream) DurableInfo(ctx context.Context, name string) (*jetstream.ConsumerInfo, error) {
	c, err := s.stream.Consumer(ctx, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, Wrap(err, "durable consumer "+name)
	}
	return c.CachedInfo(), nil
}

// RemoveDurable removes the durable consumer, if it is there.
func (s *Stream) RemoveDurable(ctx context.Context, name string) error {
	err := s.stream.DeleteConsumer(ctx, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return Wrap(err, "remove durable consumer "+name)
}
