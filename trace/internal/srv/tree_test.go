package srv_test

import (
	"fmt"
	"strings"
	"testing"

	tracesrv "github.com/micro/go-platform/trace/internal/srv"
	pb "github.com/micro/go-platform/trace/proto"
)

func show(nodes []*pb.TreeResponse_Node) string {
	var all []string
	for _, n := range nodes {
		text := strings.Repeat(".", int(n.Depth)) + strings.TrimLeft(n.Span.Id, "0")
		if n.Orphan {
			text += " orphan"
		}
		if n.Cycle {
			text += " cycle"
		}
		if n.Skew != 0 {
			text += fmt.Sprintf(" %+d", n.Skew)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestTree(t *testing.T) {
	client := side(pb.AnnotationType_CLIENT_REQUEST, "a", "b")
	server := side(pb.AnnotationType_SERVER_REQUEST, "a", "b")
	produce := side(pb.AnnotationType_CLIENT_PUBLICATION, "a", "")
	consume := side(pb.AnnotationType_SERVER_SUBSCRIPTION, "", "b")
	for _, c := range []struct {
		name  string
		spans []*pb.Span
		want  string
	}{
		{"nothing", nil, ""},
		{"tree", []*pb.Span{newSpan(1, 4, 2), newSpan(1, 3, 1), newSpan(1, 2, 1), newSpan(1, 1, 0)}, "1, .2, ..4, .3"},
		{"two roots", []*pb.Span{newSpan(1, 1, 0), newSpan(1, 2, 0), newSpan(1, 3, 1)}, "1, .3, 2"},
		{"orphan", []*pb.Span{newSpan(1, 1, 0), newSpan(1, 3, 9), newSpan(1, 4, 3)}, "1, 3 orphan, .4"},
		{"own parent", []*pb.Span{newSpan(1, 1, 1)}, "1 cycle"},
		{"circle", []*pb.Span{newSpan(1, 1, 3), newSpan(1, 2, 1), newSpan(1, 3, 2), newSpan(1, 4, 2)}, "1 cycle, .2, ..3, ..4"},
		{"shared id", []*pb.Span{newSpan(1, 1, 0, client), newSpan(1, 1, 0, server), newSpan(1, 2, 1)}, "1, .2, 1"},
		{"no skew", []*pb.Span{newSpan(1, 1, 0, client, took(100, 100)), newSpan(1, 2, 1, server, took(120, 50))}, "1, .2"},
		{"ahead", []*pb.Span{newSpan(1, 1, 0, client, took(100, 100)), newSpan(1, 2, 1, server, took(1025, 50))}, "1, .2 +900"},
		{"behind", []*pb.Span{newSpan(1, 1, 0, client, took(1000, 100)), newSpan(1, 2, 1, server, took(125, 50))}, "1, .2 -900"},
		{"caller gave up", []*pb.Span{newSpan(1, 1, 0, client, took(100, 100)), newSpan(1, 2, 1, server, took(110, 500))}, "1, .2"},
		{"late message", []*pb.Span{newSpan(1, 1, 0, produce, took(100, 10)), newSpan(1, 2, 1, consume, took(5000, 50))}, "1, .2"},
		{"message before it was sent", []*pb.Span{newSpan(1, 1, 0, produce, took(100, 10)), newSpan(1, 2, 1, consume, took(60, 50))}, "1, .2 -40"},
		{"one clock", []*pb.Span{newSpan(1, 1, 0, took(100, 10)), newSpan(1, 2, 1, took(90, 50))}, "1, .2"},
	} {
		if got := show(tracesrv.Tree(c.spans)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTreeOfAnyShapeEnds(t *testing.T) {
	const n = 50_000
	chain, fan := make([]*pb.Span, n), make([]*pb.Span, n)
	for i := range n {
		chain[i] = newSpan(1, i+1, i)
		fan[i] = newSpan(1, i+2, 1)
	}
	if nodes := tracesrv.Tree(chain); len(nodes) != n || nodes[n-1].Depth != n-1 {
		t.Errorf("%d nodes of a chain", len(nodes))
	}
	if nodes := tracesrv.Tree(append(fan, newSpan(1, 1, 0))); len(nodes) != n+1 {
		t.Errorf("%d nodes of a fan", len(nodes))
	}
}
