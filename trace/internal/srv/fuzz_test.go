package srv_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	tracesrv "github.com/micro/go-platform/trace/internal/srv"
	pb "github.com/micro/go-platform/trace/proto"
)

// FuzzSpans takes what anyone may publish on the topic.
func FuzzSpans(f *testing.F) {
	for _, r := range []*pb.ReadResponse{
		{Spans: []*pb.Span{newSpan(1, 1, 0), newSpan(1, 2, 1, side(pb.AnnotationType_CLIENT_REQUEST, "a", "b")), newSpan(1, 3, 2, side(pb.AnnotationType_SERVER_REQUEST, "a", "b"))}},
		{Spans: []*pb.Span{newSpan(1, 1, 2), newSpan(1, 2, 1), newSpan(1, 3, 3, took(-1, -1))}},
		{Spans: []*pb.Span{{TraceId: "x"}, {Annotations: []*pb.Annotation{{}}}}},
	} {
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r pb.ReadResponse
		if proto.Unmarshal(data, &r) != nil {
			return
		}
		var good []*pb.Span
		for _, s := range r.Spans {
			if tracesrv.NewRecord(s) == nil {
				good = append(good, s)
			}
		}
		for _, spans := range [][]*pb.Span{good, r.Spans} {
			if nodes := tracesrv.Tree(spans); len(nodes) != len(spans) {
				t.Fatalf("%d nodes of %d spans", len(nodes), len(spans))
			}
		}
	})
}
