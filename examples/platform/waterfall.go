package main

import (
	"context"
	"errors"
	"strings"
	"time"

	tracepb "github.com/micro/go-platform/trace/proto"
)

// spansOfSale are those of one purchase: a client's and a server's for each of
// the three services.
const spansOfSale = 6

// waterfall reads the latest whole trace back from trace-srv and draws it.
func (r *report) waterfall(ctx context.Context) error {
	tree, err := r.latest(ctx)
	if err != nil {
		return err
	}
	r.whole++
	const width = 40
	root := tree.Nodes[0].Span
	begin, length := root.Timestamp, max(root.Duration, 1)
	r.printf("  trace %s\n", root.TraceId)
	for _, n := range tree.Nodes {
		s := n.Span
		left := clamp((s.Timestamp-begin)*width/length, width-1)
		bar := max(clamp(s.Duration*width/length, width-left), 1)
		failed := ""
		if hasError(s) {
			failed = "  failed"
		}
		r.printf("    %-42s |%s%s%s| %6.1f ms%s\n",
			strings.Repeat("  ", int(n.Depth))+side(s)+" "+s.Name,
			strings.Repeat(" ", int(left)), strings.Repeat("=", int(bar)), strings.Repeat(" ", int(width-left-bar)),
			float64(s.Duration)/1000, failed)
	}
	return nil
}

func clamp(n, high int64) int64 { return min(max(n, 0), high) }

// underway is how long spans may be, while the shop runs: each instance sends
// its own once a second.
const underway = 1500 * time.Millisecond

// latest returns the newest trace that has all its spans.
func (r *report) latest(ctx context.Context) (*tracepb.TreeResponse, error) {
	found, err := r.operator.traces.Search(ctx, &tracepb.SearchRequest{
		Name: "Stock.Reserve", Service: stockName, Reverse: true, Limit: 20, To: time.Now().Add(-underway).UnixMicro(),
	})
	if err != nil {
		return nil, err
	}
	for _, s := range found.Spans {
		tree, err := r.operator.traces.Tree(ctx, &tracepb.TreeRequest{Id: s.TraceId})
		if err != nil {
			return nil, err
		}
		if len(tree.Nodes) == spansOfSale && tree.Nodes[spansOfSale-1].Depth == spansOfSale-1 {
			return tree, nil
		}
	}
	return nil, errors.New("none is complete yet")
}

func side(s *tracepb.Span) string {
	for _, a := range s.Annotations {
		switch a.Type {
		case tracepb.AnnotationType_CLIENT_REQUEST:
			return service(s.Source) + " calls"
		case tracepb.AnnotationType_SERVER_REQUEST:
			return service(s.Destination) + " serves"
		}
	}
	return ""
}

func service(s *tracepb.Service) string { return strings.TrimPrefix(s.GetName(), "shop.") }

func hasError(s *tracepb.Span) bool {
	for _, a := range s.Annotations {
		if a.Key == "error" {
			return true
		}
	}
	return false
}
