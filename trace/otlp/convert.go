package otlp

import (
	"go-micro.dev/v6/registry"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/trace"
)

const scope = "github.com/micro/go-platform/trace"

// convert returns the spans as the SDK exports them, and how many have no
// valid ids. Package tracetest of the SDK is the only way to make such a span.
func convert(spans []*trace.Span) (stubs []sdk.ReadOnlySpan, bad int) {
	resources := make(map[*registry.Service]*resource.Resource)
	for _, s := range spans {
		local := s.Local()
		r, ok := resources[local]
		if !ok {
			r = serviceResource(local)
			resources[local] = r
		}
		if stub, ok := convertOne(s, r); ok {
			stubs = append(stubs, stub.Snapshot())
		} else {
			bad++
		}
	}
	return stubs, bad
}

func serviceResource(s *registry.Service) *resource.Resource {
	if s == nil {
		return resource.NewSchemaless(attribute.String("service.name", "unknown_service"))
	}
	attrs := []attribute.KeyValue{text("service.name", s.Name)}
	if s.Version != "" {
		attrs = append(attrs, text("service.version", s.Version))
	}
	if len(s.Nodes) > 0 && s.Nodes[0] != nil {
		attrs = append(attrs, text("service.instance.id", s.Nodes[0].Id))
	}
	return resource.NewSchemaless(attrs...)
}

func convertOne(s *trace.Span, r *resource.Resource) (*tracetest.SpanStub, bool) {
	context, ok := spanContext(s.TraceId, s.Id, s.TraceState())
	if !ok {
		return nil, false
	}
	parent, _ := spanContext(s.TraceId, s.ParentId, "")
	stub := &tracetest.SpanStub{
		Name:                 clean.UTF8(s.Name),
		SpanContext:          context,
		Parent:               parent,
		SpanKind:             kind(s.Kind()),
		StartTime:            s.Timestamp,
		EndTime:              s.Timestamp.Add(s.Duration),
		DroppedAttributes:    s.DroppedAnnotations(),
		Resource:             r,
		InstrumentationScope: instrumentation.Scope{Name: scope, SchemaURL: semconv.SchemaURL},
	}
	if remote := s.Remote(); remote != nil && remote.Name != "" {
		stub.Attributes = append(stub.Attributes, text("service.peer.name", remote.Name))
	}
	describe(stub)
	s.Lock()
	defer s.Unlock()
	for _, a := range s.Annotations {
		if a != nil {
			annotate(stub, a)
		}
	}
	return stub, true
}

func spanContext(traceID, id, state string) (otel.SpanContext, bool) {
	var c otel.SpanContextConfig
	traceID, _ = trace.NormalTraceID(traceID)
	id, _ = trace.NormalSpanID(id)
	var err error
	if c.TraceID, err = otel.TraceIDFromHex(traceID); err != nil {
		return otel.SpanContext{}, false
	}
	if c.SpanID, err = otel.SpanIDFromHex(id); err != nil {
		return otel.SpanContext{}, false
	}
	c.TraceFlags = otel.FlagsSampled
	if state != "" {
		c.TraceState, _ = otel.ParseTraceState(state) // one that the SDK does not like is left out
	}
	return otel.NewSpanContext(c), true
}

// text returns an attribute in UTF-8: protobuf refuses a whole batch for one byte
// that is not.
func text(key, value string) attribute.KeyValue {
	return attribute.String(clean.UTF8(key), clean.UTF8(value))
}

func kind(k trace.Kind) otel.SpanKind {
	switch k {
	case trace.KindClient:
		return otel.SpanKindClient
	case trace.KindServer:
		return otel.SpanKindServer
	case trace.KindProducer:
		return otel.SpanKindProducer
	case trace.KindConsumer:
		return otel.SpanKindConsumer
	default:
		return otel.SpanKindInternal
	}
}

// annotate makes attributes of what has a key, the status of an error, and
// events of the rest but for the ends of calls, which are those of the span.
func annotate(stub *tracetest.SpanStub, a *trace.Annotation) {
	name := ""
	switch {
	case a.Key == trace.ErrorKey:
		fail(stub, a.Type == trace.AnnTimeout, string(a.Value))
		return
	case a.Key != "":
		stub.Attributes = append(stub.Attributes, text(a.Key, string(a.Value)))
		return
	case a.Type == trace.AnnStart:
		name = "start"
	case a.Type == trace.AnnEnd:
		name = "end"
	case a.Type == trace.AnnTimeout:
		name = "timeout"
	default:
		return
	}
	stub.Events = append(stub.Events, sdk.Event{Name: name, Time: a.Timestamp})
}
