package otlp_test

import (
	"maps"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"
	otlp1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
)

// Spans of the wrappers have the names of OpenTelemetry's conventions.
func TestConventions(t *testing.T) {
	const (
		unset  = otlp1.Status_STATUS_CODE_UNSET
		failed = otlp1.Status_STATUS_CODE_ERROR
	)
	call := func(more ...string) map[string]string {
		m := map[string]string{"rpc.system.name": "go-micro", "rpc.method": "Shop/Buy", "service.peer.name": "stock"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	notFound, broken := merrors.NotFound("shop", "no such thing").Error(), merrors.InternalServerError("shop", "disk").Error()
	for name, c := range map[string]struct {
		span   string
		kind   trace.AnnotationType
		fails  string
		name   string
		attrs  map[string]string
		status otlp1.Status_StatusCode
	}{
		"call":                {"Shop.Buy", trace.AnnClientRequest, "", "Shop/Buy", call(), unset},
		"call, not found":     {"Shop.Buy", trace.AnnClientRequest, notFound, "Shop/Buy", call("error.type", "404", "rpc.response.status_code", "404"), failed},
		"handler, not found":  {"Shop.Buy", trace.AnnServerRequest, notFound, "Shop/Buy", call("rpc.response.status_code", "404"), unset},
		"handler, broken":     {"Shop.Buy", trace.AnnServerRequest, broken, "Shop/Buy", call("error.type", "500", "rpc.response.status_code", "500"), failed},
		"handler, no code":    {"Shop.Buy", trace.AnnServerRequest, "sold out", "Shop/Buy", call("error.type", "_OTHER"), failed},
		"work of a user's":    {"select from", trace.AnnClientRequest, "", "select from", map[string]string{"service.peer.name": "stock"}, unset},
		"nothing of the kind": {"Shop.Buy", trace.AnnStart, "", "Shop.Buy", map[string]string{"service.peer.name": "stock"}, unset},
		"publication": {"orders", trace.AnnClientPublication, "", "send orders", map[string]string{"service.peer.name": "stock", "messaging.system": "go-micro",
			"messaging.operation.name": "send", "messaging.operation.type": "send", "messaging.destination.name": "orders"}, unset},
		"message": {"orders", trace.AnnServerSubscription, "", "process orders", map[string]string{"service.peer.name": "stock", "messaging.system": "go-micro",
			"messaging.operation.name": "process", "messaging.operation.type": "process", "messaging.destination.name": "orders"}, unset},
	} {
		t.Run(name, func(t *testing.T) {
			r := receive(t)
			tr := newTrace(t, r, trace.BatchInterval(5*time.Millisecond))
			start(t, tr)
			s := tr.NewSpan(nil)
			s.Name = c.span
			s.Source, s.Destination = &registry.Service{Name: "shop"}, &registry.Service{Name: "stock"}
			if c.kind == trace.AnnServerRequest || c.kind == trace.AnnServerSubscription {
				s.Source, s.Destination = s.Destination, s.Source
			}
			s.Annotations = append(s.Annotations, &trace.Annotation{Timestamp: time.Now(), Type: c.kind})
			if c.fails != "" {
				s.Annotations = append(s.Annotations, &trace.Annotation{Timestamp: time.Now(), Key: trace.ErrorKey, Value: []byte(c.fails)})
			}
			collect(t, tr, s)
			rpctest.Eventually(t, "the span arrives", func() bool { return len(r.all()) == 1 })
			got := r.all()[0]
			if attrs := attributes(got.Attributes); got.Name != c.name || got.Status.GetCode() != c.status || !maps.Equal(attrs, c.attrs) {
				t.Errorf("%q, %v, %v", got.Name, got.Status, attrs)
			}
		})
	}
}
