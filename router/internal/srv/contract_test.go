package srv_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/router/proto"
)

func message(number protowire.Number, fields ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(fields...))
}

func text(number protowire.Number, s string) []byte { return message(number, []byte(s)) }

func integer(number protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), n)
}

func double(number protowire.Number, f float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, number, protowire.Fixed64Type), math.Float64bits(f))
}

// The bytes that a client of the original publishes: Stats{service=1 client=2
// timestamp=3 duration=4 selected=5}, Selected{success=5 errors=7}, Metrics{count=1
// mean=2}. The node that was called is in the service.
func TestStatsOfTheOriginal(t *testing.T) {
	const service, version, nodes, id = 1, 2, 5, 1
	bytes := slices.Concat(
		message(1, text(service, "stock"), text(version, "1"), message(nodes, text(id, nodeID(0)))),
		message(2, text(service, "old"), message(nodes, text(id, "old-1"))),
		integer(3, uint64(time.Now().Unix())), integer(4, 1),
		message(5, message(5, integer(1, 7), double(2, 12.5)), message(7, integer(1, 3), double(2, 1))),
	)
	s := &pb.Stats{}
	if err := proto.Unmarshal(bytes, s); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 0, behaviour{}, behaviour{})
	if _, err := w.Answer("stock", nil, "", w.now); err != nil { // it is in use
		t.Fatal(err)
	}
	if err := w.Topic(s); err != nil {
		t.Fatal(err)
	}
	got := w.Stats(&pb.StatsRequest{Client: "old-1"}, w.now)
	if len(got) != 1 || len(got[0].Selected) != 1 {
		t.Fatalf("%v", got)
	}
	if sel := got[0].Selected[0]; sel.Node.Id != nodeID(0) || sel.Success.Count != 7 || sel.Errors.Count != 3 || sel.Success.Mean != 12.5 {
		t.Errorf("%v", sel)
	}
}

// The original's clients read the services of each message of a stream without
// asking whether there are any: SelectRequest{service=1}, SelectResponse{services=1},
// Service{name=1}.
func TestStreamToTheOriginal(t *testing.T) {
	a := boot(t)
	req := &pb.SelectRequest{}
	if err := proto.Unmarshal(text(1, "stock"), req); err != nil {
		t.Fatal(err)
	}
	original, err := a.router.SelectStream(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := a.router.SelectStream(within(t), &pb.SelectRequest{Service: "stock", Signs: true})
	if err != nil {
		t.Fatal(err)
	}
	for signs := 0; signs == 0; { // of life, after the answer that nobody knows the service
		rsp, err := ours.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if rsp.Service == "" {
			signs++
		}
	}
	a.register(t, 1)
	rsp, err := original.Recv()
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := proto.Marshal(rsp)
	if err != nil {
		t.Fatal(err)
	}
	want := text(1, "stock")
	if first, _, n := protowire.ConsumeTag(bytes); n < 0 || first != 1 || len(rsp.Services) != 1 {
		t.Errorf("the first message: %v", rsp)
	} else if inner, _ := protowire.ConsumeBytes(bytes[n:]); len(inner) < len(want) || string(inner[:len(want)]) != string(want) {
		t.Errorf("the first service: %q", inner)
	}
}
