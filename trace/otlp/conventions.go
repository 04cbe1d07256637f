package otlp

import (
	"strconv"
	"strings"

	merrors "go-micro.dev/v6/errors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/micro/go-platform/internal/clean"
)

// system names go-micro in attributes of calls and messages.
const system = "go-micro"

// describe adds what OpenTelemetry's conventions demand of spans of the wrappers: of
// calls, whose name is "Shop.Buy", and of messages, whose name is their topic.
func describe(stub *tracetest.SpanStub) {
	switch stub.SpanKind {
	case otel.SpanKindClient, otel.SpanKindServer:
		service, method, ok := strings.Cut(stub.Name, ".")
		if !ok || service == "" || method == "" || strings.ContainsAny(stub.Name, "/ ") {
			return // not of a call
		}
		stub.Name = service + "/" + method
		stub.Attributes = append(stub.Attributes, semconv.RPCSystemNameKey.String(system), semconv.RPCMethod(stub.Name))
	case otel.SpanKindProducer:
		message(stub, "send", semconv.MessagingOperationTypeSend)
	case otel.SpanKindConsumer:
		message(stub, "process", semconv.MessagingOperationTypeProcess)
	}
}

func message(stub *tracetest.SpanStub, operation string, kind attribute.KeyValue) {
	stub.Attributes = append(stub.Attributes, semconv.MessagingSystemKey.String(system), semconv.MessagingOperationName(operation),
		kind, semconv.MessagingDestinationName(stub.Name))
	stub.Name = operation + " " + stub.Name
}

// fail sets the status of a span that ended with an error. A server's span has none
// for what its caller did wrong.
func fail(stub *tracetest.SpanStub, timeout bool, reason string) {
	code := merrors.Parse(reason).Code
	kind := semconv.ErrorTypeOther
	switch {
	case code > 0:
		kind = semconv.ErrorTypeKey.String(strconv.Itoa(int(code)))
		stub.Attributes = append(stub.Attributes, semconv.RPCResponseStatusCode(strconv.Itoa(int(code))))
	case timeout:
		kind = semconv.ErrorTypeKey.String("timeout")
	}
	if stub.SpanKind == otel.SpanKindServer && code >= 400 && code < 500 && code != 408 {
		return
	}
	stub.Attributes = append(stub.Attributes, kind)
	stub.Status = sdk.Status{Code: codes.Error, Description: clean.UTF8(reason)}
}
