package srv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

func boot(t *testing.T) (*rpctest.Net, pb.EventService) {
	t.Helper()
	net := rpctest.New(t)
	net.Boot(eventsrv.Service())
	return net, pb.NewEventService(event.ServiceName, net.Client(rpctest.GRPC))
}

func TestHandlersOfTheContract(t *testing.T) {
	_, svc := boot(t)
	ctx := t.Context()
	for i := range 5 {
		rsp, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{Id: fmt.Sprint("id", i), Type: "a.b", Timestamp: int64(100 + i), Data: fmt.Sprint(i)}})
		if err != nil || rsp.Results[0].Sequence != uint64(i)+1 {
			t.Fatalf("%v, %v", rsp, err)
		}
	}
	if rsp, err := svc.Update(ctx, &pb.UpdateRequest{Record: &pb.Record{Id: "id1", Type: "a.b", Timestamp: 101, Data: "new"}}); err != nil || rsp.Sequence != 6 {
		t.Errorf("Update: %v, %v", rsp, err)
	}
	if rsp, err := svc.Read(ctx, &pb.ReadRequest{Id: "id1"}); err != nil || rsp.Record.Data != "new" || rsp.Record.Sequence != 6 {
		t.Errorf("Read: %v, %v", rsp, err)
	}
	rsp, err := svc.Search(ctx, &pb.SearchRequest{Type: "a.*", From: 101, To: 104, Limit: 2, Offset: 1, Reverse: true})
	if err != nil {
		t.Fatal(err)
	}
	wantSequences(t, "Search", rsp.Records, 4, 3)
	if _, err := svc.Delete(ctx, &pb.DeleteRequest{Id: "id1"}); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"Read":   func() error { _, err := svc.Read(ctx, &pb.ReadRequest{Id: "id1"}); return err }(),
		"Delete": func() error { _, err := svc.Delete(ctx, &pb.DeleteRequest{Id: "id1"}); return err }(),
		"Update": func() error {
			_, err := svc.Update(ctx, &pb.UpdateRequest{Record: &pb.Record{Id: "nobody", Type: "x"}})
			return err
		}(),
		"Unsubscribe": func() error { _, err := svc.Unsubscribe(ctx, &pb.UnsubscribeRequest{Name: "x"}); return err }(),
	} {
		if call.Code(err) != 404 || !errors.Is(rpcerr.From(ctx, what, err), rpcerr.ErrNotFound) {
			t.Errorf("%s of what is not there: %v", what, err)
		}
	}
	// A client of the original sends types alone and reads record alone.
	streaming, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := svc.Stream(streaming, &pb.StreamRequest{Types: []string{"live"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for streaming.Err() == nil {
			_, _ = svc.Create(streaming, &pb.CreateRequest{Record: &pb.Record{Id: fmt.Sprint(time.Now().UnixNano()), Type: "live"}}) // the next one will do
			time.Sleep(10 * time.Millisecond)                                                                                        // between two
		}
	}()
	if m, err := stream.Recv(); err != nil || m.Record.GetType() != "live" {
		t.Errorf("Stream: %v, %v", m, err)
	}
}

func TestBadRequestsNameTheField(t *testing.T) {
	_, svc := boot(t)
	ctx := t.Context()
	many := make([]*pb.Record, 1001)
	for field, f := range map[string]func() error{
		"record: missing": func() error { _, err := svc.Create(ctx, &pb.CreateRequest{}); return err },
		"record.id":       func() error { _, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{Type: "x"}}); return err },
		"record.type": func() error {
			_, err := svc.Create(ctx, &pb.CreateRequest{Record: &pb.Record{Id: "x", Type: "micro.event.dead.x"}})
			return err
		},
		"records": func() error { _, err := svc.Create(ctx, &pb.CreateRequest{Records: many}); return err },
		"id":      func() error { _, err := svc.Read(ctx, &pb.ReadRequest{Id: "a\nb"}); return err },
		"limit":   func() error { _, err := svc.Search(ctx, &pb.SearchRequest{Limit: -1}); return err },
		"offset":  func() error { _, err := svc.Search(ctx, &pb.SearchRequest{Offset: 1 << 40}); return err },
		"from":    func() error { _, err := svc.Search(ctx, &pb.SearchRequest{From: -1}); return err },
		"types":   func() error { _, err := svc.Search(ctx, &pb.SearchRequest{Type: "a*"}); return err },
		"after":   func() error { _, err := svc.Search(ctx, &pb.SearchRequest{After: 1 << 63}); return err },
		"events": func() error {
			_, err := svc.CreateCloudEvents(ctx, &pb.CreateCloudEventsRequest{Events: []byte("{")})
			return err
		},
		"batch":             func() error { return ended(svc.Stream(ctx, &pb.StreamRequest{Batch: -1})) },
		"sequence":          func() error { return ended(svc.Stream(ctx, &pb.StreamRequest{Start: pb.Start_SEQUENCE})) },
		"start":             func() error { return ended(svc.Stream(ctx, &pb.StreamRequest{Start: 9})) },
		"subscription":      func() error { return joined(ctx, svc, &pb.ConsumeRequest{}) },
		"subscription.name": func() error { return joined(ctx, svc, &pb.ConsumeRequest{Subscription: &pb.Subscription{}}) },
		"member":            func() error { return joined(ctx, svc, &pb.ConsumeRequest{Subscription: &pb.Subscription{Name: "x"}}) },
		"credit": func() error {
			return joined(ctx, svc, &pb.ConsumeRequest{Subscription: &pb.Subscription{Name: "x"}, Member: "m", Credit: 1 << 30})
		},
		"subscription.ack_wait": func() error {
			return joined(ctx, svc, &pb.ConsumeRequest{Subscription: &pb.Subscription{Name: "x"}, Member: "m", Credit: 1})
		},
	} {
		err := f()
		if err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "400") {
			t.Errorf("a bad %s: %v", field, err)
		}
	}
}

func ended(stream pb.Event_StreamService, err error) error {
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func joined(ctx context.Context, svc pb.EventService, first *pb.ConsumeRequest) error {
	stream, err := svc.Consume(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(first) // Recv tells
	_, err = stream.Recv()
	return err
}

func TestCloudEventsOverRPC(t *testing.T) {
	_, svc := boot(t)
	sent := []byte(`[{"specversion":"1.0","id":"1","source":"/shop","type":"order","time":"2024-01-02T03:04:05.000000006Z","data":{"n":1.0},"foo":"bar"}]`)
	if _, err := svc.CreateCloudEvents(t.Context(), &pb.CreateCloudEventsRequest{Events: sent}); err != nil {
		t.Fatal(err)
	}
	rsp, err := svc.CloudEvents(t.Context(), &pb.CloudEventsRequest{})
	if err != nil || rsp.Cursor != 1 {
		t.Fatalf("%v, %v", rsp, err)
	}
	for _, part := range []string{`"id":"1"`, `"source":"/shop"`, `"data":{"n":1.0}`, `"foo":"bar"`, `"time":"2024-01-02T03:04:05.000000006Z"`, `"sequence":"1"`} {
		if !bytes.Contains(rsp.Events, []byte(part)) {
			t.Errorf("no %s in %s", part, rsp.Events)
		}
	}
}

// Events take more room than records: an answer stays below the 4 MB that
// go-micro's clients take, and the cursor leads on.
func TestCloudEventsArePaged(t *testing.T) {
	_, svc := boot(t)
	const count = 6
	for i := range count {
		r := &pb.Record{Id: fmt.Sprint(i), Type: "x", Metadata: map[string]string{"content-type": "text/plain"}, Data: strings.Repeat(`"`, 1_000_000)}
		if _, err := svc.Create(t.Context(), &pb.CreateRequest{Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for after := uint64(0); after < count; {
		rsp, err := svc.CloudEvents(t.Context(), &pb.CloudEventsRequest{After: after})
		if err != nil || len(rsp.Events) >= 4<<20-1000 || rsp.Cursor <= after {
			t.Fatalf("%d bytes after %d up to %d, %v", len(rsp.GetEvents()), after, rsp.GetCursor(), err)
		}
		records, err := event.UnmarshalCloudEvents(rsp.Events)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			got = append(got, r.Id)
		}
		after = rsp.Cursor
	}
	if text := strings.Join(got, " "); text != "0 1 2 3 4 5" {
		t.Errorf("got %s", text)
	}
}

// The topic appends what is valid and does no more.
func TestTopicOfTheOriginal(t *testing.T) {
	net, svc := boot(t)
	c := net.Client(rpctest.RPC)
	for _, r := range []*pb.Record{
		{Id: "1", Type: "old", Timestamp: 1, Data: "hi"},
		{Type: "old", Data: "without an id"},
		{Id: "2"},                                  // no type
		{Id: "3", Type: "micro.event.dead.orders"}, // forged dead letter
		{Id: "4", Type: "old", Data: strings.Repeat("x", 2<<20)},
		{Id: "1", Type: "old", Data: "a duplicate"},
		{Id: "5", Type: "old", Sequence: 1, Appended: 1}, // its place is the log's to give
	} {
		if err := c.Publish(t.Context(), c.NewMessage(event.RecordTopic, r)); err != nil {
			t.Fatal(err)
		}
	}
	var got []*pb.Record
	rpctest.Eventually(t, "three records are appended", func() bool {
		rsp, err := svc.Search(t.Context(), &pb.SearchRequest{})
		got = rsp.GetRecords()
		return err == nil && len(got) >= 3
	})
	wantSequences(t, "appended", got, 1, 2, 3)
	if got[0].Data != "hi" || got[2].Id != "5" || got[2].Appended < time.Now().Add(-time.Minute).UnixNano() {
		t.Errorf("appended %v", got)
	}
}

func TestSubscriptionsAreVisible(t *testing.T) {
	net, svc := boot(t)
	e := event.NewEvent(event.Client(net.Client(rpctest.GRPC)))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Stop() }() // nothing is queued
	for i := range 10 {
		if err := e.Publish(t.Context(), &event.Record{Data: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	over, gate := make(chan error, 1), make(chan struct{})
	go func() {
		over <- e.Consume(ctx, func(context.Context, *event.Delivery) error { <-gate; return nil },
			event.Durable("visible"), event.FromBeginning(), event.Prefetch(2))
	}()
	status := func() *pb.SubscriptionStatus {
		rsp, err := svc.Subscriptions(t.Context(), &pb.SubscriptionsRequest{Name: "visible"})
		if err != nil || len(rsp.Subscriptions) != 1 {
			return &pb.SubscriptionStatus{}
		}
		return rsp.Subscriptions[0]
	}
	rpctest.Eventually(t, "its lag is visible", func() bool { s := status(); return s.Lag == 10 && s.Members == 1 && s.Delivered == 2 })
	close(gate)
	rpctest.Eventually(t, "it catches up", func() bool { s := status(); return s.Lag == 0 && s.Floor == 10 && s.Unsettled == 0 })
	cancel()
	<-over
	rpctest.Eventually(t, "its member has left", func() bool { return status().Members == 0 })
	if _, err := svc.Unsubscribe(t.Context(), &pb.UnsubscribeRequest{Name: "visible"}); err != nil {
		t.Error(err)
	}
	if _, err := svc.Subscriptions(t.Context(), &pb.SubscriptionsRequest{Name: "visible"}); call.Code(err) != 404 {
		t.Errorf("after Unsubscribe: %v", err)
	}
}

func TestBadFlags(t *testing.T) {
	for flag, arg := range map[string]string{
		"retention": "--retention=1ms", "max_bytes": "--max_bytes=-1", "dedupe_window": "--dedupe_window=0", "stream": "--database_url=nats://127.0.0.1:1/a.b",
	} {
		var out rpctest.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		code := daemon.Run(ctx, eventsrv.Service(), []string{"event-srv", "--registry", "memory", "--broker", "memory", "--insecure", "--data_dir", t.TempDir(), arg}, &out, &out)
		cancel()
		if code == 0 || !strings.Contains(out.String(), flag) {
			t.Errorf("%s: code %d, %s", arg, code, out.String())
		}
	}
}

// All subscriptions can be listed by a default client, however many types they have.
func TestManySubscriptions(t *testing.T) {
	const count = 250
	_, svc := boot(t)
	types := make([]string, event.MaxTypes)
	for i := range types {
		types[i] = fmt.Sprint(strings.Repeat("x", event.MaxType-10), i)
	}
	for i := range count {
		stream, err := svc.Consume(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conf := &pb.Subscription{Name: fmt.Sprintf("s%03d", i), Types: types, AckWait: int64(time.Minute)}
		if err := stream.Send(&pb.ConsumeRequest{Subscription: conf, Member: "m", Credit: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for after, more := "", true; more; {
		rsp, err := svc.Subscriptions(t.Context(), &pb.SubscriptionsRequest{After: after})
		if err != nil {
			t.Fatal(err)
		}
		if n := proto.Size(rsp); n > 4<<20-1024 || len(rsp.Subscriptions) == 0 {
			t.Fatalf("%d subscriptions in %d bytes", len(rsp.Subscriptions), n)
		}
		for _, s := range rsp.Subscriptions {
			after = s.Subscription.Name
			names = append(names, after)
		}
		more = rsp.Truncated
	}
	if len(names) != count || !slices.IsSorted(names) {
		t.Errorf("%d subscriptions: %v", len(names), names)
	}
}
