package srv

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/internal/jslog"
)

// natsStates are the states of subscriptions in a bucket that has one writer:
// each write demands that the newest message of the bucket is its own last
// one. Whoever opens the bucket puts its name there, which makes the next
// write of the one before fail, whoever of them writes first.
type natsStates struct {
	js     jetstream.JetStream
	bucket jetstream.KeyValue
	name   string // this writer's

	mu    sync.Mutex
	last  uint64 // of all that this one wrote
	epoch uint64 // where it wrote its name
}

// epochKey is where the writer's name is and logKey where that of the log is whose
// subscriptions these are; the others begin with an s.
const (
	epochKey = "epoch"
	logKey   = "log"
)

// openStates opens the bucket for a log. It returns how many subscriptions were of
// another log, which begin anew.
func openStates(ctx context.Context, js jetstream.JetStream, bucket, log string) (*natsStates, int, error) {
	const doing = "open the bucket of the subscriptions"
	states, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket, Storage: jetstream.FileStorage, History: 1,
	})
	if err != nil {
		return nil, 0, jslog.Wrap(err, doing)
	}
	s := &natsStates{js: js, bucket: states, name: uuid.NewString()}
	if s.epoch, err = states.PutString(ctx, epochKey, s.name); err != nil {
		return nil, 0, jslog.Wrap(err, doing)
	}
	s.last = s.epoch
	anew, err := s.belong(ctx, log)
	return s, anew, jslog.Wrap(err, doing)
}

// belong makes the subscriptions those of the log. Their sequences are of the log
// before: in this one they would pass over records that nobody got.
func (s *natsStates) belong(ctx context.Context, log string) (anew int, err error) {
	was, err := s.bucket.Get(ctx, logKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return 0, err
	case string(was.Value()) == log:
		return 0, nil
	default:
		all, err := s.all(ctx)
		if err != nil {
			return 0, err
		}
		for _, st := range all {
			if st, err = eventlog.Anew(st); err != nil {
				return 0, err
			}
			if err := s.save(ctx, st); err != nil {
				return 0, err
			}
		}
		anew = len(all)
	}
	s.last, err = s.bucket.PutString(ctx, logKey, log) // last, so that all is done again if it is not reached
	return anew, err
}

// key is the name in letters that keys may have.
func key(name string) string {
	return "s" + base32.StdEncoding.WithPadding('_').EncodeToString([]byte(name))
}

const saving = "save subscription"

func (s *natsStates) save(ctx context.Context, st eventlog.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.write(ctx, st)
	if conflict(err) { // an acknowledgement was lost, or somebody took over
		if err = s.renew(ctx); err == nil {
			err = s.write(ctx, st)
		}
	}
	if errors.Is(err, eventlog.ErrFenced) {
		return err
	}
	return jslog.Wrap(err, saving)
}

// write is a Put of the bucket, or a Purge, that demands more.
func (s *natsStates) write(ctx context.Context, st eventlog.State) error {
	msg := nats.NewMsg("$KV." + s.bucket.Bucket() + "." + key(st.Name))
	msg.Data = st.Data
	if st.Data == nil {
		msg.Header.Set("KV-Operation", "PURGE")
		msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	}
	ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(s.last))
	if err == nil {
		s.last = ack.Sequence
	}
	return err
}

// renew writes the name once more, unless somebody else wrote his.
func (s *natsStates) renew(ctx context.Context) error {
	at, err := s.bucket.Update(ctx, epochKey, []byte(s.name), s.epoch)
	if !conflict(err) {
		if err == nil {
			s.last, s.epoch = at, at
		}
		return err
	}
	entry, err := s.bucket.Get(ctx, epochKey)
	switch {
	case err != nil:
		return err
	case string(entry.Value()) != s.name:
		return eventlog.ErrFenced
	}
	s.epoch = entry.Revision() // that acknowledgement was lost: known next time
	return errors.New("the bucket has another revision")
}

// conflict reports whether a write came upon another one.
func conflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func (s *natsStates) all(ctx context.Context) ([]eventlog.State, error) {
	const doing = "read subscriptions"
	keys, err := s.bucket.Keys(ctx)
	if err != nil {
		return nil, jslog.Wrap(err, doing) // there is one at least
	}
	var all []eventlog.State
	for _, k := range keys {
		if k == epochKey || k == logKey {
			continue
		}
		entry, err := s.bucket.Get(ctx, k)
		if err != nil {
			return nil, jslog.Wrap(err, doing)
		}
		name, err := base32.StdEncoding.WithPadding('_').DecodeString(strings.TrimPrefix(k, "s"))
		if err != nil {
			return nil, fmt.Errorf("%s: key %q: %w", doing, k, err)
		}
		all = append(all, eventlog.State{Name: string(name), Data: entry.Value()})
	}
	return all, nil
}
