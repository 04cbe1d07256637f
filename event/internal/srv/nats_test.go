package srv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

// A network that stands still while the log is read is not the end of the log.
func TestReadOverStalledNetwork(t *testing.T) {
	server := backend.NATS(t)
	direct, closeDirect := eventsrv.OpenNATS(t, server.URL, "stalled")
	defer closeDirect()
	for i := range 50 {
		commit(t, direct, entry(i))
	}
	link := netcut.New(t, server.Addr)
	s, closeStore := eventsrv.OpenNATS(t, "nats://"+link.Addr, "stalled")
	defer closeStore()
	const ask = "CONSUMER.MSG.NEXT"

	link.CutAfter(ask)
	if records, cursor, err := s.Read(t.Context(), 0, filter(t), 100); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("Read: %d records, cursor %d, %v", len(records), cursor, err)
	}
	link.Heal()
	link.CutAfter(ask)
	if at, err := s.Before(t.Context(), 1); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("Before: %d, %v", at, err)
	}
	link.Heal()
	records, cursor, err := s.Read(t.Context(), 0, filter(t), 100)
	if err != nil || len(records) != 50 || cursor != 50 {
		t.Errorf("healed: %d records, cursor %d, %v", len(records), cursor, err)
	}
}

// purge removes the oldest records of a stream, as its retention does.
func purge(t *testing.T, url, stream string, upTo uint64) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(upTo+1)); err != nil {
		t.Fatal(err)
	}
}

// Readers are told what the stream's retention removed.
func TestRetentionOfNATS(t *testing.T) {
	url := backend.NATS(t).URL
	s, closeStore := eventsrv.OpenNATS(t, url, "retention")
	defer closeStore()
	for i := range 20 {
		commit(t, s, entry(i))
	}
	purge(t, url, "retention", 15)
	if expired, last, err := s.Bounds(t.Context()); err != nil || expired != 15 || last != 20 {
		t.Errorf("expired %d, last %d, %v", expired, last, err)
	}
	records, cursor, err := s.Read(t.Context(), 0, filter(t), 3)
	wantSequences(t, "what is left", records, 16, 17, 18)
	if err != nil || cursor != 18 {
		t.Errorf("cursor %d, %v", cursor, err)
	}
}

// What NATS never takes fails alone.
func TestTooLargeForNATS(t *testing.T) {
	s, closeStore := eventsrv.OpenNATS(t, backend.NATS(t).URL, "large")
	defer closeStore()
	all := []*eventlog.Entry{entry(0), entry(1), entry(2)}
	all[1].Record.Data = strings.Repeat("x", event.MaxRecord)
	commit(t, s, all...)
	if all[0].Err != nil || !errors.Is(all[1].Err, event.ErrInvalid) || all[2].Err != nil || all[2].Sequence != 2 {
		t.Errorf("%v, %v, %v; the last became %d", all[0].Err, all[1].Err, all[2].Err, all[2].Sequence)
	}
}

// A record of the topic that NATS never takes holds up none behind it.
func TestTooLargeOfTheTopic(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(eventsrv.Service(), func(c *daemon.Config) { c.DatabaseURL = backend.NATS(t).URL })
	c := net.Client(rpctest.GRPC)
	svc := pb.NewEventService(event.ServiceName, c)
	large := &pb.Record{Id: "large", Type: "old", Data: strings.Repeat("x", event.MaxRecord-30)}
	if err := wire.Validate(large); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*pb.Record{large, {Id: "small", Type: "old"}} {
		if err := c.Publish(t.Context(), c.NewMessage(event.RecordTopic, r)); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "the small one is appended", func() bool {
		rsp, err := svc.Search(t.Context(), &pb.SearchRequest{})
		return err == nil && len(rsp.Records) == 1 && rsp.Records[0].Id == "small"
	})
	if _, err := svc.Create(t.Context(), &pb.CreateRequest{Record: large}); !errors.Is(rpcerr.From(t.Context(), "append", err), event.ErrInvalid) {
		t.Errorf("Create: %v", err)
	}
	if _, err := svc.Update(t.Context(), &pb.UpdateRequest{Record: &pb.Record{Id: "small", Type: "old", Data: large.Data}}); !errors.Is(rpcerr.From(t.Context(), "append", err), event.ErrInvalid) {
		t.Errorf("Update: %v", err)
	}
}

// removeStream removes a stream but leaves the bucket beside it.
func removeStream(t *testing.T, url, stream string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
}

func openLog(t *testing.T, s eventlog.Store) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), s, eventlog.Config{Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// When the stream is lost and made again, durable subscriptions read the new one from
// its beginning: what they know is of the old one. A log that runs meanwhile ends and
// says why.
func TestNewStream(t *testing.T) {
	url := backend.NATS(t).URL
	consume := func(l *eventlog.Log, want int) {
		t.Helper()
		m, err := l.Join(t.Context(), plugin.Membership{
			Conf: &pb.Subscription{Name: "s", AckWait: int64(time.Minute)}, Member: "m", Credit: 100,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Create(t.Context(), []*pb.Record{{Id: "live", Type: "x"}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		got := 0
		for got < want {
			all, _, err := m.Next(ctx)
			if err != nil {
				t.Fatalf("%d of %d records came: %v", got, want, err)
			}
			for _, d := range all {
				m.Settle([]*pb.Settlement{{Sequence: d.Record.Sequence, Try: 1}}, nil)
				got++
			}
		}
		if err := m.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := eventsrv.OpenNATS(t, url, "lost")
	old := openLog(t, s)
	consume(old, 1)
	removeStream(t, url, "lost")
	s, _ = eventsrv.OpenNATS(t, url, "lost") // makes it again
	select {
	case <-old.Done():
		if err := old.Ready(); !errors.Is(err, eventlog.ErrReplaced) {
			t.Errorf("the log of the old stream: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the log of the old stream goes on")
	}
	_ = old.Stop() // it cannot save what is of another log
	for i := range 3 {
		commit(t, s, entry(i))
	}
	l := openLog(t, s)
	consume(l, 4)
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	s, _ = eventsrv.OpenNATS(t, url, "lost") // the same stream: nothing comes again
	l = openLog(t, s)
	if sub := l.Subscriptions("s"); len(sub) != 1 || sub[0].Floor != 4 {
		t.Errorf("after a restart: %v", sub)
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}
