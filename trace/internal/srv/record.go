package srv

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/trace"
	pb "github.com/micro/go-platform/trace/proto"
)

// record is a span as it is stored, with what it is searched by.
type record struct {
	span        *pb.Span
	kind        trace.Kind
	service     string // that recorded it
	failed      bool
	tags        map[[2]string]struct{}
	received    int64 // µs since 1970, by our clock
	source, dst string
}

// The bounds beside those of package trace.
const (
	maxTime     = 253402300800_000_000 // the year 10000
	maxDuration = 366 * 24 * 3600 * 1_000_000
	maxTags     = 32  // that are searched by, of one span
	maxTagValue = 128 // bytes that are searched by
	maxDebug    = 64  // entries of an annotation
)

// newRecord validates the span, brings its ids into their normal form and
// reads off what it is searched by.
func newRecord(s *pb.Span, received int64) (*record, error) {
	if err := normalise(s); err != nil {
		return nil, fmt.Errorf("%w: %w", rpcerr.ErrInvalid, err)
	}
	r := &record{
		span: s, received: received,
		source: s.Source.GetName(), dst: s.Destination.GetName(),
		tags: make(map[[2]string]struct{}),
	}
	for _, a := range s.Annotations {
		if k := trace.AnnotationType(a.Type).Kind(); k != trace.KindInternal && r.kind == trace.KindInternal {
			r.kind = k
		}
		r.failed = r.failed || a.Key == trace.ErrorKey
		if a.Key != "" && len(r.tags) < maxTags {
			r.tags[[2]string{a.Key, tagValue(string(a.Value))}] = struct{}{}
		}
	}
	r.service = r.source
	if r.kind == trace.KindServer || r.kind == trace.KindConsumer {
		r.service = r.dst
	}
	return r, nil
}

// tagValue is the part of a value that is searched by.
func tagValue(v string) string {
	return strings.ToValidUTF8(v[:min(len(v), maxTagValue)], "")
}

func normalise(s *pb.Span) error {
	var ok bool
	switch {
	case s == nil:
		return errors.New("span: missing")
	case proto.Size(s) > trace.MaxSpanSize:
		return fmt.Errorf("span: larger than %d bytes", trace.MaxSpanSize)
	case len(s.Name) > trace.MaxName:
		return fmt.Errorf("span.name: longer than %d bytes", trace.MaxName)
	case s.Timestamp <= 0 || s.Timestamp >= maxTime:
		return fmt.Errorf("span.timestamp: %d is not within 1..%d", s.Timestamp, int64(maxTime-1))
	case s.Duration < 0 || s.Duration > maxDuration:
		return fmt.Errorf("span.duration: %d is not within 0..%d", s.Duration, int64(maxDuration))
	case len(s.Annotations) > trace.MaxAnnotations:
		return fmt.Errorf("span.annotations: more than %d", trace.MaxAnnotations)
	}
	if s.TraceId, ok = trace.NormalTraceID(s.TraceId); !ok {
		return errors.New("span.trace_id: want 32 hexadecimal digits")
	}
	if s.Id, ok = trace.NormalSpanID(s.Id); !ok {
		return errors.New("span.id: want 16 hexadecimal digits")
	}
	if err := normaliseParent(s); err != nil {
		return err
	}
	for _, service := range []*pb.Service{s.Source, s.Destination} {
		if len(service.GetName()) > trace.MaxName {
			return fmt.Errorf("span.source, span.destination: name longer than %d bytes", trace.MaxName)
		}
	}
	for _, a := range s.Annotations {
		if err := checkAnnotation(a); err != nil {
			return err
		}
	}
	return nil
}

// normaliseParent takes "0" for none, as the original go-platform wrote.
func normaliseParent(s *pb.Span) error {
	if strings.Trim(s.ParentId, "0") == "" {
		s.ParentId = ""
		return nil
	}
	var ok bool
	if s.ParentId, ok = trace.NormalSpanID(s.ParentId); !ok {
		return errors.New("span.parent_id: want 16 hexadecimal digits")
	}
	return nil
}

func checkAnnotation(a *pb.Annotation) error {
	switch {
	case a == nil:
		return errors.New("span.annotations: one is missing")
	case pb.AnnotationType_name[int32(a.Type)] == "":
		return fmt.Errorf("span.annotations.type: %d is unknown", a.Type)
	case len(a.Key) > trace.MaxKey:
		return fmt.Errorf("span.annotations.key: longer than %d bytes", trace.MaxKey)
	case len(a.Value) > trace.MaxValue:
		return fmt.Errorf("span.annotations.value: longer than %d bytes", trace.MaxValue)
	case len(a.Debug) > maxDebug:
		return fmt.Errorf("span.annotations.debug: more than %d entries", maxDebug)
	}
	return nil
}
