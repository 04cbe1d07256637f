// Package otlp sends spans to an OpenTelemetry collector, or anything else
// that takes OTLP over grpc, with the exporter of the OpenTelemetry SDK.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/internal/turn"
)

// DefaultCollector is where spans go without the option trace.Collectors.
const DefaultCollector = "127.0.0.1:4317"

// NewTrace returns a plugin that sends spans by OTLP. Its wrappers and its
// NewHeader write W3C headers; all headers are read.
//
// Spans follow the semantic conventions of OpenTelemetry 1.43. Calls are named
// "Shop/Buy" and have rpc.system.name ("go-micro"), rpc.method, service.peer.name and,
// after an error, error.type and rpc.response.status_code, go-micro's code; the status
// of a server's span is an error unless the caller was at fault (4xx but 408).
// Messages are named "send TOPIC" and "process TOPIC" and have messaging.system,
// messaging.operation.name, messaging.operation.type and messaging.destination.name.
//
// trace.Collectors takes "host:port"; each batch goes to one of them. trace.Client
// and trace.Topic have no effect.
func NewTrace(opts ...trace.Option) trace.Trace {
	o := trace.NewOptions(append([]trace.Option{trace.Legacy()}, opts...)...)
	return trace.NewPlugin("otlp", &exporter{options: o}, o)
}

type exporter struct {
	options trace.Options
	sdks    []*otlptrace.Exporter // one for each collector
	turn    turn.Turn
	partial trace.RejectedError // what the last answer refused; Export is never concurrent
}

// Start implements trace.Exporter.
func (e *exporter) Start() error {
	collectors := e.options.Collectors
	if len(collectors) == 0 {
		collectors = []string{DefaultCollector}
	}
	check := option.Of("trace")
	for _, c := range collectors {
		host, port, err := net.SplitHostPort(c)
		check.That(err == nil && host != "" && port != "", "Collectors", "%q is not host:port", c)
	}
	if err := check.Err(); err != nil {
		return err
	}
	e.sdks = nil
	for _, c := range collectors {
		sdk, err := e.dial(c)
		if err != nil {
			return errors.Join(err, e.Stop())
		}
		e.sdks = append(e.sdks, sdk)
	}
	return nil
}

// dial makes a client. It does no I/O: grpc connects with the first call.
func (e *exporter) dial(address string) (*otlptrace.Exporter, error) {
	secure := otlptracegrpc.WithInsecure()
	if e.options.TLS != nil {
		secure = otlptracegrpc.WithTLSCredentials(credentials.NewTLS(e.options.TLS))
	}
	return otlptrace.New(context.Background(), otlptracegrpc.NewClient(
		otlptracegrpc.WithEndpoint(address), secure,
		otlptracegrpc.WithTimeout(e.options.CollectTimeout),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}), // the queue does that
		otlptracegrpc.WithDialOption(grpc.WithUnaryInterceptor(e.intercept)),
	))
}

// intercept takes the partial success out of the answer: the SDK would make
// an error of it, and spans that were taken would be sent again.
func (e *exporter) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	rsp, ok := reply.(*collector.ExportTraceServiceResponse)
	if err == nil && ok && rsp.PartialSuccess != nil {
		e.reject(int(rsp.PartialSuccess.RejectedSpans), rsp.PartialSuccess.ErrorMessage)
		rsp.PartialSuccess = nil
	}
	return err
}

func (e *exporter) reject(n int, reason string) {
	if n > 0 {
		e.partial.Count, e.partial.Reason = e.partial.Count+n, reason
	}
}

// Stop implements trace.Exporter.
func (e *exporter) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), e.options.CollectTimeout)
	defer cancel()
	var errs []error
	for _, sdk := range e.sdks {
		errs = append(errs, sdk.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// Export implements trace.Exporter.
func (e *exporter) Export(ctx context.Context, spans []*trace.Span) error {
	e.partial = trace.RejectedError{}
	stubs, bad := convert(spans)
	e.reject(bad, "the ids are not valid")
	if len(stubs) > 0 {
		errs := e.turn.Try(ctx, len(e.sdks), e.options.CollectTimeout, func(ctx context.Context, i int) error {
			err := e.sdks[i].ExportSpans(ctx, stubs)
			if err != nil && permanent(err) {
				return fmt.Errorf("%w: %w", trace.ErrInvalid, err)
			}
			return err
		})
		switch {
		case turn.All(errs, len(e.sdks), trace.ErrInvalid):
			return errors.Join(errs...)
		case errs != nil:
			return errors.New(errors.Join(errs...).Error()) // without ErrInvalid: others may take what some refuse
		}
	}
	if e.partial.Count > 0 {
		rejected := e.partial
		return &rejected
	}
	return nil
}

// permanent follows the OTLP specification: a server whose resources are
// exhausted for a while says when to come again.
func permanent(err error) bool {
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.InvalidArgument:
		return true
	case codes.Internal: // grpc's own error when it cannot encode a message
		return strings.Contains(s.Message(), "error while marshaling")
	case codes.ResourceExhausted:
		for _, d := range s.Details() {
			if _, ok := d.(*errdetails.RetryInfo); ok {
				return false
			}
		}
		return true
	default:
		return false
	}
}
