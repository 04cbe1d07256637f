package srv

import (
	"cmp"
	"slices"

	"github.com/micro/go-platform/trace"
	pb "github.com/micro/go-platform/trace/proto"
)

// tree puts spans into the order of a printed tree. It takes any input: spans
// without their parents become roots, and so does the first span of a circle.
// It does not recurse, so depth costs nothing.
func tree(spans []*pb.Span) []*pb.TreeResponse_Node {
	slices.SortStableFunc(spans, func(a, b *pb.Span) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	b := builder{children: make(map[string][]*pb.Span), seen: make(map[*pb.Span]bool)}
	known := make(map[string]bool, len(spans))
	for _, s := range spans {
		known[s.Id] = true
		b.children[s.ParentId] = append(b.children[s.ParentId], s)
	}
	for _, s := range spans {
		if !known[s.ParentId] {
			b.walk(&pb.TreeResponse_Node{Span: s, Orphan: s.ParentId != ""})
		}
	}
	for _, s := range spans { // what is left hangs on a circle
		if !b.seen[s] {
			b.walk(&pb.TreeResponse_Node{Span: s, Cycle: true})
		}
	}
	return b.nodes
}

type builder struct {
	children map[string][]*pb.Span
	seen     map[*pb.Span]bool
	nodes    []*pb.TreeResponse_Node
}

// walk appends the node and its descendants, parents first.
func (b *builder) walk(root *pb.TreeResponse_Node) {
	b.seen[root.Span] = true
	stack := []*pb.TreeResponse_Node{root}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		b.nodes = append(b.nodes, n)
		children := b.children[n.Span.Id]
		delete(b.children, n.Span.Id) // two spans of one id share children: the first gets them
		for _, c := range slices.Backward(children) {
			if b.seen[c] {
				continue
			}
			b.seen[c] = true
			stack = append(stack, &pb.TreeResponse_Node{Span: c, Depth: n.Depth + 1, Skew: skew(n.Span, c)})
		}
	}
}

// skew estimates by how much the clock of a called service is ahead of its
// caller's, in µs. A call cannot begin before it was made nor end after it was
// answered; when it seems to, the two ways over the network are taken to be
// equally long, as in NTP. Within one service there is one clock, and messages
// may be handled whenever after they were sent.
func skew(parent, child *pb.Span) int64 {
	p, c := kindOf(parent), kindOf(child)
	early := parent.Timestamp - child.Timestamp
	late := child.Timestamp + child.Duration - (parent.Timestamp + parent.Duration)
	switch {
	case p == trace.KindProducer && c == trace.KindConsumer:
		return -max(early, 0)
	case p != trace.KindClient || c != trace.KindServer || early <= 0 && late <= 0:
		return 0
	case child.Duration > parent.Duration: // the caller gave up: only the begin tells
		return -max(early, 0)
	}
	return child.Timestamp - (parent.Timestamp + (parent.Duration-child.Duration)/2)
}

func kindOf(s *pb.Span) trace.Kind {
	for _, a := range s.Annotations {
		if k := trace.AnnotationType(a.Type).Kind(); k != trace.KindInternal {
			return k
		}
	}
	return trace.KindInternal
}
