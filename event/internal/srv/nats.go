package srv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/internal/jslog"
	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/daemon"
)

// natsStore is the store in NATS JetStream. Its stream may be written to by
// event/nats too. The states of subscriptions are in a bucket beside it, where
// whoever opened it last writes.
type natsStore struct {
	js     jetstream.JetStream
	stream *jslog.Stream
	states *natsStates
	anew   int // subscriptions that were of a stream which is gone
}

// defaultStream is the stream of a URL that names none.
const defaultStream = "micro-event"

// openNATS opens the store at nats://user:password@host:port/stream.
func openNATS(ctx context.Context, rawURL string, s *settings, env *daemon.Env) (eventlog.Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("database URL: not of the form nats://user:password@host:4222/stream")
	}
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" {
		name = defaultStream
	}
	if !wire.StreamName(name) {
		return nil, fmt.Errorf("database URL: stream %q: want 1 to 64 letters, digits, - and _", name)
	}
	u.Path = ""
	// Its TLS is not that of our callers.
	js, err := jslog.Connect([]string{u.String()}, nil, env.Name)
	if err != nil {
		return nil, err
	}
	waiting := env.Waiting("the database")
	if err := connected(ctx, js.Conn(), waiting.Tell); err != nil {
		js.Conn().Close()
		return nil, err
	}
	waiting.Over()
	store, err := connectNATS(ctx, js, jslog.Config{Name: name, MaxAge: s.retention, MaxBytes: s.maxBytes, Window: s.window})
	if err != nil {
		js.Conn().Close()
		return nil, err
	}
	if store.anew > 0 {
		env.Logger.Warn("the stream is another one than before: durable subscriptions read it from its beginning", "stream", name, "subscriptions", store.anew)
	}
	return store, nil
}

// connected waits until a server is there or ctx ends, and tells why it waits.
func connected(ctx context.Context, nc *nats.Conn, tell func(error)) error {
	for !nc.IsConnected() {
		tell(cmp.Or(nc.LastError(), nats.ErrNoServers))
		select {
		case <-ctx.Done():
			return fmt.Errorf("connect to NATS: %w: %w", ctx.Err(), nc.LastError())
		case <-time.After(20 * time.Millisecond): // it tells nobody
		}
	}
	return nil
}

func connectNATS(ctx context.Context, js jetstream.JetStream, conf jslog.Config) (*natsStore, error) {
	if err := connected(ctx, js.Conn(), func(error) {}); err != nil {
		return nil, err
	}
	stream, err := jslog.Open(ctx, js, conf)
	if err != nil {
		return nil, err
	}
	states, anew, err := openStates(ctx, js, conf.Name+"-state", stream.ID())
	if err != nil {
		return nil, err
	}
	return &natsStore{js: js, stream: stream, states: states, anew: anew}, nil
}

// ID implements eventlog.Store.
func (n *natsStore) ID() string { return n.stream.ID() }

// Shared implements eventlog.Store.
func (n *natsStore) Shared() bool { return true }

// Close implements eventlog.Store.
func (n *natsStore) Close() error {
	n.js.Conn().Close()
	return nil
}

// Bounds implements eventlog.Store.
func (n *natsStore) Bounds(ctx context.Context) (expired, last uint64, err error) {
	expired, last, err = n.stream.Bounds(ctx)
	if errors.Is(err, jslog.ErrReplaced) {
		err = fmt.Errorf("%w: %w", eventlog.ErrReplaced, err)
	}
	return expired, last, err
}

// Commit implements eventlog.Store.
func (n *natsStore) Commit(ctx context.Context, entries []*eventlog.Entry, states []eventlog.State) error {
	records := make([]*pb.Record, len(entries))
	for i, e := range entries {
		records[i] = e.Record
	}
	results, err := n.stream.Append(ctx, records, func(i int) bool { return entries[i].Again })
	if err != nil {
		return err
	}
	for i, e := range entries {
		e.Sequence, e.Duplicate = results[i].Sequence, results[i].Duplicate
		if text := results[i].Error; text != "" {
			e.Err = fmt.Errorf("%w: %s", event.ErrInvalid, text)
		}
	}
	for _, st := range states {
		if err := n.states.save(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// States implements eventlog.Store.
func (n *natsStore) States(ctx context.Context) ([]eventlog.State, error) { return n.states.all(ctx) }

// Read implements eventlog.Store.
func (n *natsStore) Read(ctx context.Context, after uint64, f plugin.Filter, limit int) ([]*pb.Record, uint64, error) {
	_, last, err := n.stream.Bounds(ctx)
	if err != nil || after >= last {
		return nil, after, err
	}
	c, err := n.stream.Consumer(ctx, n.stream.Filter(f, "*"), jslog.After(after))
	if err != nil {
		return nil, 0, err
	}
	defer n.stream.Forget(c)
	cursor, size := after, 0
	var records []*pb.Record
	end, err := n.stream.Page(c, limit, func(r *pb.Record, meta *jetstream.MsgMetadata) bool {
		cursor = meta.Sequence.Stream
		if r != nil && f.Match(r.Type) { // others share the stream
			records = append(records, r)
			size += len(r.Data) + len(r.Binary)
		}
		return size <= eventlog.MaxPage
	})
	if err != nil {
		return nil, 0, err
	}
	if end {
		cursor = max(cursor, last)
	}
	return records, cursor, nil
}

// Before implements eventlog.Store.
func (n *natsStore) Before(ctx context.Context, nano int64) (uint64, error) {
	return n.stream.Before(ctx, nano)
}

// scan reads the whole log, since JetStream has no index that would fit.
func (n *natsStore) scan(ctx context.Context, after uint64, f plugin.Filter, see func(*pb.Record) (more bool)) error {
	for {
		records, cursor, err := n.Read(ctx, after, f, 1000)
		if err != nil {
			return err
		}
		for _, r := range records {
			if !see(r) {
				return nil
			}
		}
		if cursor == after {
			return nil
		}
		after = cursor
	}
}

func everything() plugin.Filter {
	f, err := plugin.NewFilter("*", event.ReservedPrefix+"*")
	if err != nil {
		panic(err) // never: they are constants
	}
	return f
}

// Find implements eventlog.Store.
func (n *natsStore) Find(ctx context.Context, id string) (found *pb.Record, err error) {
	err = n.scan(ctx, 0, everything(), func(r *pb.Record) bool {
		if r.Id == id {
			found = r
		}
		return true
	})
	return found, err
}

// maxHeld bounds the records that a search in reverse holds, in bytes.
const maxHeld = 64 << 20

// Search implements eventlog.Store.
func (n *natsStore) Search(ctx context.Context, q eventlog.Query) (found []*pb.Record, cut bool, err error) {
	after, size := q.After, 0
	if q.Reverse {
		after = 0
	}
	// In reverse the newest are wanted: all are seen, the last ones kept.
	most, held := q.Limit, false
	if q.Reverse {
		most += q.Offset
	}
	err = n.scan(ctx, after, q.Filter, func(r *pb.Record) bool {
		if q.Reverse && q.After > 0 && r.Sequence >= q.After {
			return false
		}
		if !q.Matches(r) {
			return true
		}
		if !q.Reverse && q.Offset > 0 {
			q.Offset--
			return true
		}
		found = append(found, r)
		size += len(r.Data) + len(r.Binary)
		for q.Reverse && (int64(len(found)) > most || size > maxHeld) {
			size -= len(found[0].Data) + len(found[0].Binary)
			found, held = found[1:], held || int64(len(found)) <= most
		}
		cut = size > eventlog.MaxPage
		return q.Reverse || int64(len(found)) < most && !cut
	})
	if q.Reverse && held {
		return nil, false, fmt.Errorf("%w: offset: too far back for this store", event.ErrInvalid)
	}
	if q.Reverse {
		found, cut = newest(found, q.Offset)
	}
	return found, cut, err
}

// newest turns records around, without the first of the outcome, and cuts them
// off at MaxPage.
func newest(all []*pb.Record, offset int64) (found []*pb.Record, cut bool) {
	size := 0
	for i := len(all) - 1 - int(offset); i >= 0; i-- {
		found = append(found, all[i])
		if size += len(all[i].Data) + len(all[i].Binary); size > eventlog.MaxPage {
			return found, true
		}
	}
	return found, false
}

// Erase implements eventlog.Store.
func (n *natsStore) Erase(ctx context.Context, id string) (int, error) {
	var sequences []uint64
	err := n.scan(ctx, 0, everything(), func(r *pb.Record) bool {
		if r.Id == id {
			sequences = append(sequences, r.Sequence)
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	for _, seq := range sequences {
		if err := n.stream.Delete(ctx, seq); err != nil {
			return 0, err
		}
	}
	return len(sequences), nil
}

// Expire implements eventlog.Store. JetStream itself does it.
func (n *natsStore) Expire(context.Context, int64, int64) (bool, error) { return false, nil }
