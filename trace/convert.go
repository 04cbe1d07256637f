package trace

import (
	"unicode/utf8"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/clean"
	pb "github.com/micro/go-platform/trace/proto"
)

// message returns s as it is sent to trace-srv. It locks s. Annotations that
// the caller appended beyond the bounds are cut like those of Annotate.
func message(s *Span) *pb.Span {
	s.Lock()
	defer s.Unlock()
	m := &pb.Span{
		Name:        text(s.Name, MaxName),
		Id:          clean.UTF8(s.Id),
		TraceId:     clean.UTF8(s.TraceId),
		ParentId:    clean.UTF8(s.ParentId),
		Timestamp:   s.Timestamp.UnixMicro(),
		Duration:    s.Duration.Microseconds(),
		Debug:       s.Debug,
		Source:      serviceMessage(s.Source),
		Destination: serviceMessage(s.Destination),
	}
	dropped := int(s.dropped)
	for i, a := range s.Annotations {
		if i == MaxAnnotations {
			dropped += len(s.Annotations) - i
			break
		}
		if a == nil {
			continue
		}
		if len(a.Key) > MaxKey || len(a.Value) > MaxValue {
			dropped++
		}
		m.Annotations = append(m.Annotations, annotationMessage(a, s))
	}
	m.DroppedAnnotations = uint32(dropped)
	return m
}

func annotationMessage(a *Annotation, s *Span) *pb.Annotation {
	m := &pb.Annotation{
		Timestamp: a.Timestamp.UnixMicro(),
		Type:      pb.AnnotationType(a.Type),
		Key:       text(a.Key, MaxKey),
		Value:     a.Value[:min(len(a.Value), MaxValue)],
		Debug:     texts(a.Debug),
	}
	if a.Service != nil && a.Service != s.Source && a.Service != s.Destination { // else said already
		m.Service = serviceMessage(a.Service)
	}
	return m
}

// serviceMessage leaves endpoints out: they are many, and the registry knows.
func serviceMessage(s *registry.Service) *pb.Service {
	if s == nil {
		return nil
	}
	m := &pb.Service{Name: text(s.Name, MaxName), Version: clean.UTF8(s.Version), Metadata: texts(s.Metadata)}
	for _, n := range s.Nodes {
		if n == nil {
			continue
		}
		host, port := SplitAddress(n.Address)
		m.Nodes = append(m.Nodes, &pb.Node{Id: clean.UTF8(n.Id), Address: clean.UTF8(host), Port: port, Metadata: texts(n.Metadata)})
	}
	return m
}

// text returns the first size bytes of s as UTF-8: protobuf refuses a whole batch
// for one byte that is not, and names come from headers of strangers.
func text(s string, size int) string { return cut(clean.UTF8(cut(s, size)), size) }

// texts returns m with keys and values as UTF-8.
func texts(m map[string]string) map[string]string {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return cleaned(m)
		}
	}
	return m
}

func cleaned(m map[string]string) map[string]string {
	all := make(map[string]string, len(m))
	for k, v := range m {
		all[clean.UTF8(k)] = clean.UTF8(v)
	}
	return all
}
