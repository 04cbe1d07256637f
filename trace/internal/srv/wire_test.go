package srv_test

import (
	"context"
	"testing"
	"time"

	"go-micro.dev/v6/broker"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	pb "github.com/micro/go-platform/trace/proto"
)

// message builds a message by the numbers of its fields, as the clients of the
// original go-platform wrote them.
type message []byte

func (m message) text(n protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, n, protowire.BytesType), s)
}

func (m message) number(n protowire.Number, v int64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), uint64(v))
}

func (m message) with(n protowire.Number, inner message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, n, protowire.BytesType), inner)
}

func TestTheTopicTakesWhatTheOriginalsClientsSent(t *testing.T) {
	net, svc := boot(t)
	const traceID = "0af76519-16cd-43dd-8448-eb211c80319c"
	now := time.Now().UnixMicro()
	node := message{}.text(1, "shop-1").text(2, "10.0.0.1").number(3, 8080).with(4, message{}.text(1, "zone").text(2, "a"))
	shop := message{}.text(1, "shop").text(2, "1.0").with(3, message{}.text(1, "k").text(2, "v")).with(4, node)
	annotation := message{}.number(1, now).number(2, 7).with(5, message{}.text(1, "debug").text(2, "x")).with(6, shop)
	tag := message{}.number(1, now).text(3, "item").text(4, "tea")
	span := message{}.text(1, "Shop.Buy").text(2, "b7ad6b71-6920-3331-8448-eb211c80319c").text(3, traceID).text(4, "0").
		number(5, now).number(6, 1500).number(7, 1).with(8, message{}.text(1, "gateway")).with(9, shop).with(10, annotation).with(10, tag)
	for _, content := range []string{"application/octet-stream", "application/protobuf"} {
		if err := net.Broker.Publish(trace.TraceTopic, &broker.Message{Header: map[string]string{"Content-Type": content}, Body: span}); err != nil {
			t.Errorf("%s: %v", content, err)
		}
	}
	var got *pb.Span
	rpctest.Eventually(t, "the span arrives", func() bool {
		rsp, err := svc.Read(context.Background(), &pb.ReadRequest{Id: traceID})
		if err == nil && len(rsp.Spans) == 1 {
			got = rsp.Spans[0]
		}
		return got != nil
	})
	d := got.Destination
	if got.Name != "Shop.Buy" || got.ParentId != "" || got.Duration != 1500 || !got.Debug || got.Source.GetName() != "gateway" ||
		d.GetName() != "shop" || d.GetMetadata()["k"] != "v" || len(d.GetNodes()) != 1 || d.Nodes[0].Port != 8080 || d.Nodes[0].Metadata["zone"] != "a" ||
		len(got.Annotations) != 2 || got.Annotations[0].Type != pb.AnnotationType_SERVER_REQUEST || string(got.Annotations[1].Value) != "tea" {
		t.Errorf("got %v", got)
	}
}
