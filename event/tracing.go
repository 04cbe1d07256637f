package event

import (
	"context"
	"maps"

	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/trace"
)

// What the ids of a span may add to the metadata, and so to the record.
const (
	headerKeys  = 6
	headerBytes = 1 << 10
)

// tracePublication opens a span whose ids travel in the metadata of the
// message, if there is room, and returns how to end it.
func (p *Plugin) tracePublication(ctx context.Context, m *pb.Record) func(error) {
	t := p.options.Trace
	if t == nil {
		return func(error) {}
	}
	_, span := trace.Begin(ctx, t, "publish "+m.Type)
	if headerFits(m) {
		md := make(map[string]string, len(m.Metadata)+1)
		maps.Copy(md, m.Metadata)
		m.Metadata = header(t, md, span)
	}
	return func(err error) { trace.End(t, span, err) }
}

func headerFits(m *pb.Record) bool {
	size := 0
	for k, v := range m.Metadata {
		size += len(k) + len(v)
	}
	return len(m.Metadata)+headerKeys <= MaxMetadataKeys && size+headerBytes <= MaxMetadata &&
		proto.Size(m)+headerBytes <= MaxRecord
}

// header writes the ids as the wrappers of trace do: no more of them than
// needed.
func header(t trace.Trace, md map[string]string, s *trace.Span) map[string]string {
	if w, ok := t.(interface {
		WriteHeader(md map[string]string, s *trace.Span) map[string]string
	}); ok {
		return w.WriteHeader(md, s)
	}
	return t.NewHeader(md, s)
}

// handle calls the consumer, in a span that is a child of the publication's.
func (p *Plugin) handle(ctx context.Context, c Consumer, d *Delivery) error {
	t := p.options.Trace
	if t == nil {
		return c(ctx, d)
	}
	if parent, ok := t.FromHeader(d.Metadata); ok {
		ctx = t.NewContext(ctx, parent)
	}
	return trace.Do(ctx, t, "handle "+d.Type, func(ctx context.Context) error { return c(ctx, d) })
}
