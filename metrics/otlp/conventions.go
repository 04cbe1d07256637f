package otlp

import (
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/micro/go-platform/metrics"
)

// system names go-micro in attributes of calls and messages.
const system = "go-micro"

// convention is what OpenTelemetry calls a duration of the wrappers.
type convention struct {
	name      string
	operation string // of messages; "" for calls
}

func conventions(id string) (c convention, ok bool) {
	switch id {
	case "client.duration_us":
		c.name = "rpc.client.call.duration"
	case "server.duration_us":
		c.name = "rpc.server.call.duration"
	case "publisher.duration_us":
		c.name, c.operation = "messaging.client.operation.duration", "send"
	case "subscriber.duration_us":
		c.name, c.operation = "messaging.process.duration", "process"
	}
	return c, c.name != ""
}

// conventional returns the name and the attributes of a duration that the wrappers
// recorded; false for another series.
func conventional(s *metrics.Series) (name string, attrs []attribute.KeyValue, ok bool) {
	c, ok := conventions(s.ID)
	subject := "method"
	if c.operation != "" {
		subject = "topic"
	}
	if !ok || s.Kind != metrics.HistogramKind || !slices.ContainsFunc(s.Tags, func(t metrics.Tag) bool { return t.Name == subject }) {
		return "", nil, false
	}
	if c.operation == "" {
		attrs = append(attrs, semconv.RPCSystemNameKey.String(system))
	} else {
		attrs = append(attrs, semconv.MessagingSystemKey.String(system), semconv.MessagingOperationName(c.operation))
	}
	for _, t := range s.Tags {
		switch {
		case t.Name == "method":
			attrs = append(attrs, semconv.RPCMethod(strings.Replace(t.Value, ".", "/", 1)))
		case t.Name == "topic":
			attrs = append(attrs, semconv.MessagingDestinationName(t.Value))
		case t.Name != "status":
			attrs = append(attrs, attribute.String(t.Name, t.Value))
		case t.Value == "dropped":
			attrs = append(attrs, semconv.ErrorTypeKey.String("timeout"))
		case t.Value != "success":
			attrs = append(attrs, semconv.ErrorTypeOther)
		}
	}
	return c.name, attrs, true
}
