package trace

import (
	pb "github.com/micro/go-platform/trace/proto"
	"go-micro.dev/v6/registry"
)

// message returns s as it is sent to trace-srv. It locks s. Annotations that
// the caller appended beyond the bounds are cut like those of Annotate.
func message(s *Span) *pb.Span {
	s.Lock()
	defer s.Unlock()
	m := &pb.Span{
		Name:        cut(s.Name, MaxName),
		Id:          s.Id,
		TraceId:     s.TraceId,
		ParentId:    s.ParentId,
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
		Key:       cut(a.Key, MaxKey),
		Value:     a.Value[:min(len(a.Value), MaxValue)],
		Debug:     a.Debug,
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
	m := &pb.Service{Name: cut(s.Name, MaxName), Version: s.Version, Metadata: s.Metadata}
	for _, n := range s.Nodes {
		host, port := SplitAddress(n.Address)
		m.Nodes = append(m.Nodes, &pb.Node{Id: n.Id, Address: host, Port: port, Metadata: n.Metadata})
	}
	return m
}
