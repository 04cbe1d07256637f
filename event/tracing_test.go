package event_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/wire"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/trace/recorder"
)

// strict is a log that takes what event-srv takes.
type strict struct{ picky }

func (s strict) Append(ctx context.Context, all []*pb.Record) ([]*pb.Result, error) {
	for _, r := range all {
		if err := wire.Validate(r); err != nil {
			return nil, err
		}
	}
	return s.picky.Append(ctx, all)
}

// A record that has no room for the ids of its span goes without.
func TestTraceOfAFullRecord(t *testing.T) {
	tr := recorder.NewTrace()
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	e := event.NewPlugin("strict", strict{}, event.NewOptions(event.Trace(tr)))
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	r := &event.Record{Id: "full", Type: "x", Timestamp: 1, TimestampNano: 1e9, Data: strings.Repeat("d", event.MaxRecord/2)}
	r.Data += strings.Repeat("d", event.MaxRecord-proto.Size(wire.Message((*wire.Record)(r))))
	if n := proto.Size(wire.Message((*wire.Record)(r))); n != event.MaxRecord {
		t.Fatalf("%d bytes, want %d", n, event.MaxRecord)
	}
	if err := e.Publish(t.Context(), r); err != nil {
		t.Error(err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
	if n := len(tr.Spans()); n != 1 {
		t.Errorf("%d spans", n)
	}
}
