package srv_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/event/internal/wire"
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
