package srv

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/trace"
	pb "github.com/micro/go-platform/trace/proto"
)

// The bounds of requests.
const (
	defaultLimit = 20
	maxLimit     = 1000
	maxOffset    = 100_000
	maxTree      = 10_000
	maxSpans     = 10_000 // of one answer to Read
)

// handler serves Trace: it validates and translates.
type handler struct {
	store store
	holds func(ctx context.Context, service string) error // see daemon.Env.Holds
}

// mine returns an error unless the caller may hold the name of the service that
// recorded the span.
func mine(ctx context.Context, holds func(context.Context, string) error, r *record) error {
	if r.service == "" {
		return nil
	}
	return holds(ctx, r.service)
}

func invalid(format string, args ...any) error {
	return rpcerr.To(trace.ServiceName, fmt.Errorf("%w: "+format, append([]any{rpcerr.ErrInvalid}, args...)...))
}

// Create stores spans.
func (h *handler) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) error {
	if len(req.Spans) > trace.MaxBatchSize {
		return invalid("spans: more than %d", trace.MaxBatchSize)
	}
	if req.Span == nil && len(req.Spans) == 0 {
		return invalid("span: missing")
	}
	now := time.Now().UnixMicro()
	var records []*record
	if req.Span != nil {
		r, err := newRecord(req.Span, now)
		if err == nil {
			err = mine(ctx, h.holds, r)
		}
		if err != nil {
			return rpcerr.To(trace.ServiceName, err)
		}
		records = append(records, r)
	}
	for _, s := range req.Spans {
		r, err := newRecord(s, now)
		if err == nil {
			err = mine(ctx, h.holds, r)
		}
		if err == nil {
			records = append(records, r)
			continue
		}
		if rsp.Rejected++; rsp.Rejected == 1 {
			rsp.Reason = err.Error()
		}
	}
	if len(records) == 0 {
		return nil
	}
	return rpcerr.To(trace.ServiceName, h.store.Insert(ctx, records))
}

func traceID(id string) (string, error) {
	normal, ok := trace.NormalTraceID(id)
	if !ok {
		return "", invalid("id: want the 32 hexadecimal digits of a trace id")
	}
	return normal, nil
}

// Read returns the spans of a trace, or 404.
func (h *handler) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	id, err := traceID(req.Id)
	if err != nil {
		return err
	}
	rsp.Spans, rsp.Truncated, err = h.read(ctx, id, maxSpans)
	return err
}

func (h *handler) read(ctx context.Context, id string, limit int) ([]*pb.Span, bool, error) {
	spans, more, err := h.store.Read(ctx, id, limit)
	if err == nil && len(spans) == 0 {
		err = fmt.Errorf("trace %s: %w", id, rpcerr.ErrNotFound)
	}
	return spans, more, rpcerr.To(trace.ServiceName, err)
}

// Delete removes a trace.
func (h *handler) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	id, err := traceID(req.Id)
	if err != nil {
		return err
	}
	return rpcerr.To(trace.ServiceName, h.store.Delete(ctx, id))
}

// Search returns the spans that match all conditions.
func (h *handler) Search(ctx context.Context, req *pb.SearchRequest, rsp *pb.SearchResponse) error {
	if err := checkSearch(req); err != nil {
		return err
	}
	q := query{
		name: req.Name, service: req.Service,
		minDuration: req.MinDuration, maxDuration: req.MaxDuration,
		from: req.From, to: req.To,
		failed: req.Error, tags: req.Tags,
		limit: req.Limit, offset: req.Offset, reverse: req.Reverse,
	}
	if q.limit == 0 {
		q.limit = defaultLimit
	}
	var err error
	rsp.Spans, rsp.Truncated, err = h.store.Search(ctx, q)
	return rpcerr.To(trace.ServiceName, err)
}

func checkSearch(req *pb.SearchRequest) error {
	switch {
	case req.Limit < 0 || req.Limit > maxLimit:
		return invalid("limit: %d is not within 0..%d", req.Limit, maxLimit)
	case req.Offset < 0 || req.Offset > maxOffset:
		return invalid("offset: %d is not within 0..%d", req.Offset, maxOffset)
	case req.MinDuration < 0 || req.MaxDuration < 0:
		return invalid("min_duration, max_duration: negative")
	case req.From < 0 || req.To < 0:
		return invalid("from, to: negative")
	case len(req.Name) > trace.MaxName || len(req.Service) > trace.MaxName:
		return invalid("name, service: longer than %d bytes", trace.MaxName)
	case len(req.Tags) > 8:
		return invalid("tags: more than 8")
	}
	for k := range req.Tags {
		if k == "" || len(k) > trace.MaxKey {
			return invalid("tags: a key is not of 1..%d bytes", trace.MaxKey)
		}
	}
	return nil
}

// Tree returns a trace as a tree.
func (h *handler) Tree(ctx context.Context, req *pb.TreeRequest, rsp *pb.TreeResponse) error {
	id, err := traceID(req.Id)
	if err != nil {
		return err
	}
	if req.Limit < 0 || req.Limit > maxTree {
		return invalid("limit: %d is not within 0..%d", req.Limit, maxTree)
	}
	limit := int(req.Limit)
	if limit == 0 {
		limit = 1000
	}
	spans, more, err := h.read(ctx, id, limit)
	rsp.Nodes, rsp.Truncated = tree(spans), more
	return err
}

// Dependencies returns which service called which.
func (h *handler) Dependencies(ctx context.Context, req *pb.DependenciesRequest, rsp *pb.DependenciesResponse) error {
	from, to := req.From, req.To
	if to == 0 {
		to = time.Now().UnixMicro()
	}
	if from == 0 {
		from = max(0, to-time.Hour.Microseconds())
	}
	if from < 0 || to <= from {
		return invalid("from, to: %d..%d is no period", from, to)
	}
	var err error
	rsp.Dependencies, err = h.store.Dependencies(ctx, from, to)
	return rpcerr.To(trace.ServiceName, err)
}
