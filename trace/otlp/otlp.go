// Package otlp sends spans to an OpenTelemetry collector, or anything else
// that takes OTLP over grpc, with the exporter of the OpenTelemetry SDK.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/trace"
)

// DefaultCollector is where spans go without the option trace.Collectors.
const DefaultCollector = "127.0.0.1:4317"

// NewTrace returns a plugin that sends spans by OTLP. Its wrappers and its
// NewHeader write W3C headers; all headers are read.
//
// trace.Collectors takes one "host:port". trace.Client and trace.Topic have no
// effect.
func NewTrace(opts ...trace.Option) trace.Trace {
	o := trace.NewOptions(append([]trace.Option{trace.Legacy()}, opts...)...)
	return trace.NewPlugin("otlp", &exporter{options: o}, o)
}

type exporter struct {
	options trace.Options
	sdk     *otlptrace.Exporter
	partial trace.RejectedError // what the last answer refused; Export is never concurrent
}

// Start implements trace.Exporter.
func (e *exporter) Start() error {
	address := DefaultCollector
	switch len(e.options.Collectors) {
	case 0:
	case 1:
		address = e.options.Collectors[0]
	default:
		return errors.New("option Collectors: more than one address")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("option Collectors: %w", err)
	}
	secure := otlptracegrpc.WithInsecure()
	if e.options.TLS != nil {
		secure = otlptracegrpc.WithTLSCredentials(credentials.NewTLS(e.options.TLS))
	}
	e.sdk = otlptrace.NewUnstarted(otlptracegrpc.NewClient(
		otlptracegrpc.WithEndpoint(address), secure,
		otlptracegrpc.WithTimeout(e.options.CollectTimeout),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}), // the queue does that
		otlptracegrpc.WithDialOption(grpc.WithUnaryInterceptor(e.intercept)),
	))
	return e.sdk.Start(context.Background()) // only makes the connection's object
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
	return e.sdk.Shutdown(ctx)
}

// Export implements trace.Exporter.
func (e *exporter) Export(ctx context.Context, spans []*trace.Span) error {
	e.partial = trace.RejectedError{}
	if err := e.send(ctx, spans); err != nil {
		return err
	}
	if e.partial.Count > 0 {
		rejected := e.partial
		return &rejected
	}
	return nil
}

// send halves what the collector will never take, until it is known which
// spans those are: too many at once, or one that it does not like.
func (e *exporter) send(ctx context.Context, spans []*trace.Span) error {
	stubs, bad := convert(spans)
	e.reject(bad, "the ids are not valid")
	err := e.sdk.ExportSpans(ctx, stubs)
	switch {
	case err == nil || !permanent(err):
		return err
	case len(spans) == 1:
		e.reject(1, err.Error())
		return nil
	}
	e.partial.Count -= bad // they come by again
	half := len(spans) / 2
	if err := e.send(ctx, spans[:half]); err != nil {
		return err
	}
	return e.send(ctx, spans[half:])
}

// permanent follows the OTLP specification: a server whose resources are
// exhausted for a while says when to come again.
func permanent(err error) bool {
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.InvalidArgument:
		return true
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
