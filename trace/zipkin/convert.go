package zipkin

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/reporter"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/trace"
)

// Encode returns the spans as Zipkin's collectors take them, a list in JSON,
// and how many have no place there.
func Encode(spans []*trace.Span) ([]byte, *trace.RejectedError, error) {
	rejected := &trace.RejectedError{}
	models := make([]*model.SpanModel, 0, len(spans))
	for _, s := range spans {
		m, err := convert(s)
		if err != nil {
			rejected.Count, rejected.Reason = rejected.Count+1, err.Error()
			continue
		}
		models = append(models, m)
	}
	body, err := reporter.JSONSerializer{}.Serialize(models)
	if err != nil {
		return nil, nil, fmt.Errorf("encode spans: %w", err)
	}
	return body, rejected, nil
}

func convert(s *trace.Span) (*model.SpanModel, error) {
	m := &model.SpanModel{
		Name:           s.Name,
		Kind:           kind(s.Kind()),
		Timestamp:      s.Timestamp,
		Duration:       max(s.Duration.Truncate(time.Microsecond), time.Microsecond), // 0 would be unknown
		LocalEndpoint:  endpoint(s.Local()),
		RemoteEndpoint: endpoint(s.Remote()),
	}
	if s.Timestamp.Unix() < 1 {
		return nil, fmt.Errorf("timestamp %v is before 1970", s.Timestamp)
	}
	if err := ids(&m.SpanContext, s); err != nil {
		return nil, err
	}
	s.Lock()
	defer s.Unlock()
	for _, a := range s.Annotations {
		if a != nil {
			annotate(m, a)
		}
	}
	return m, nil
}

func ids(c *model.SpanContext, s *trace.Span) error {
	traceID, ok := trace.NormalTraceID(s.TraceId)
	if !ok {
		return fmt.Errorf("trace id %.40q is none", s.TraceId)
	}
	id, ok := trace.NormalSpanID(s.Id)
	if !ok {
		return fmt.Errorf("span id %.40q is none", s.Id)
	}
	var err error
	if c.TraceID, err = model.TraceIDFromHex(traceID); err != nil {
		return err
	}
	if c.ID, err = spanID(id); err != nil {
		return err
	}
	if parent, ok := trace.NormalSpanID(s.ParentId); ok {
		p, err := spanID(parent)
		if err != nil {
			return err
		}
		c.ParentID = &p
	}
	c.Debug = s.Debug
	return nil
}

func spanID(hex string) (model.ID, error) {
	n, err := strconv.ParseUint(hex, 16, 64)
	return model.ID(n), err
}

func kind(k trace.Kind) model.Kind {
	switch k {
	case trace.KindClient:
		return model.Client
	case trace.KindServer:
		return model.Server
	case trace.KindProducer:
		return model.Producer
	case trace.KindConsumer:
		return model.Consumer
	default:
		return model.Undetermined
	}
}

// endpoint takes the address of the first node.
func endpoint(s *registry.Service) *model.Endpoint {
	if s == nil {
		return nil
	}
	e := &model.Endpoint{ServiceName: s.Name}
	if len(s.Nodes) == 0 || s.Nodes[0] == nil {
		return e
	}
	host, port := trace.SplitAddress(s.Nodes[0].Address)
	e.Port = uint16(max(0, min(port, 65535)))
	if ip := net.ParseIP(host); ip.To4() != nil {
		e.IPv4 = ip.To4()
	} else {
		e.IPv6 = ip
	}
	return e
}

// annotate makes tags of what has a key, and annotations of the rest but for
// the ends of calls, which are the ends of the span in Zipkin.
func annotate(m *model.SpanModel, a *trace.Annotation) {
	if a.Key != "" {
		if m.Tags == nil {
			m.Tags = make(map[string]string)
		}
		m.Tags[a.Key] = string(a.Value)
		return
	}
	value := ""
	switch a.Type {
	case trace.AnnStart:
		value = "start"
	case trace.AnnEnd:
		value = "end"
	case trace.AnnTimeout:
		value = "timeout"
	default:
		return
	}
	m.Annotations = append(m.Annotations, model.Annotation{Timestamp: a.Timestamp, Value: value})
}
