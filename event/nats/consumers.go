package nats

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event/internal/jslog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// consumers are those of a subscription: one, or one for each part when keys
// are to be kept in order.
type consumers struct {
	stream  *jslog.Stream
	conf    *pb.Subscription
	ordered bool
}

func (s consumers) parts() []string {
	if !s.ordered {
		return []string{"*"}
	}
	parts := make([]string, jslog.Parts)
	for i := range parts {
		parts[i] = strconv.FormatUint(uint64(i), 16)
	}
	return parts
}

func (s consumers) durable(part string) string {
	if s.ordered {
		return durableName(s.conf.Name) + "~" + part
	}
	return durableName(s.conf.Name)
}

// exist goes by the first, which is made last and removed first.
func (s consumers) exist(ctx context.Context) (bool, error) {
	info, err := s.stream.DurableInfo(ctx, s.durable(s.parts()[0]))
	return info != nil, err
}

// join returns the consumers that the member is to use. Whoever comes anew
// decides whether keys are in order; whoever comes back takes what there is by
// now. A subscription goes over from the one kind to the other where it is:
// what was acknowledged before everything else was comes again.
func (d *driver) join(ctx context.Context, s *jslog.Stream, m plugin.Membership, f plugin.Filter) ([]jetstream.Consumer, bool, error) {
	mine := consumers{s, m.Conf, m.Conf.Ordered}
	other := consumers{s, m.Conf, !m.Conf.Ordered}
	switching, err := other.exist(ctx)
	if err != nil {
		return nil, false, err
	}
	var begin jetstream.ConsumerConfig
	if switching {
		made, err := mine.exist(ctx)
		switch {
		case err != nil:
			return nil, false, err
		case m.Log != "" && !made:
			mine, switching = other, false
		case m.Log != "":
			switching = false // somebody else is at it
		case !made:
			err = mine.remove(ctx) // what is there is left over from another time
		}
		if err != nil {
			return nil, false, err
		}
	}
	if switching {
		begin, err = other.floor(ctx)
	} else {
		begin, err = start(ctx, s, m.Conf, m.Log != "" && m.Log != s.ID())
	}
	if err != nil {
		return nil, false, err
	}
	if !switching {
		if err := d.turn(ctx, mine, f); err != nil {
			return nil, false, err
		}
	}
	all, err := mine.open(ctx, begin, f)
	if err == nil && switching {
		err = other.remove(ctx) // its members come back to ours
	}
	return all, mine.ordered, err
}

func (s consumers) open(ctx context.Context, begin jetstream.ConsumerConfig, f plugin.Filter) ([]jetstream.Consumer, error) {
	parts := s.parts()
	all := make([]jetstream.Consumer, len(parts))
	for i := len(parts) - 1; i >= 0; i-- {
		c := begin
		c.Durable = s.durable(parts[i])
		c.MaxAckPending = maxPending
		if s.ordered {
			c.MaxAckPending = 1
		}
		c.FilterSubject, c.Description = s.stream.Filter(f, parts[i]), described(f)
		c.AckPolicy, c.AckWait, c.MaxDeliver = jetstream.AckExplicitPolicy, time.Duration(s.conf.AckWait), -1
		var err error
		if all[i], err = s.stream.Durable(ctx, c); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// floor configures a consumer that has all that these have not settled: it
// begins with the first that is not.
func (s consumers) floor(ctx context.Context) (jetstream.ConsumerConfig, error) {
	_, least, err := s.stream.Bounds(ctx) // before the others are looked at: what is appended later is after it
	for _, part := range s.parts() {
		if err != nil {
			break
		}
		var info *jetstream.ConsumerInfo
		if info, err = s.stream.DurableInfo(ctx, s.durable(part)); info != nil {
			var at uint64
			at, err = s.stream.BeforeFirst(ctx, info.Config.FilterSubject, unsettled(info), least)
			least = min(least, at)
		}
	}
	return jslog.After(least), err
}

// unsettled is where the first record may be that the consumer has not settled.
func unsettled(info *jetstream.ConsumerInfo) jetstream.ConsumerConfig {
	if info.AckFloor.Stream > 0 {
		return jslog.After(info.AckFloor.Stream)
	}
	c := info.Config
	return jetstream.ConsumerConfig{DeliverPolicy: c.DeliverPolicy, OptStartSeq: c.OptStartSeq, OptStartTime: c.OptStartTime}
}

func (s consumers) remove(ctx context.Context) error {
	for _, part := range s.parts() {
		if err := s.stream.RemoveDurable(ctx, s.durable(part)); err != nil {
			return err
		}
	}
	return nil
}

// start says where a consumer begins that is made. All parts begin at the same
// place.
func start(ctx context.Context, s *jslog.Stream, conf *pb.Subscription, anew bool) (jetstream.ConsumerConfig, error) {
	if anew {
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, nil
	}
	switch conf.Start {
	case pb.Start_BEGINNING:
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, nil
	case pb.Start_SEQUENCE:
		return jslog.After(conf.Sequence - 1), nil
	case pb.Start_TIME:
		return jslog.At(conf.Time), nil
	}
	_, last, err := s.Bounds(ctx)
	return jslog.After(last), err
}

// durableName is the name with what NATS does not take in one written as two
// hexadecimal digits after an equals sign.
func durableName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c == '-' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
