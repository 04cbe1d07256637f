// Package zipkin sends spans to a Zipkin server over HTTP, in the model of
// zipkin-go, and speaks Zipkin's headers with other services.
//
// It does not use the reporter of zipkin-go, whose losses cannot be counted:
// spans that the server refused are gone without a trace.
package zipkin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openzipkin/zipkin-go/reporter"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/internal/turn"
)

// The topic of Zipkin's Kafka collector, for package kafka, and Zipkin's headers.
// They are variables for the sake of programs written for the original go-platform;
// do not change them.
var (
	TraceTopic = "zipkin"

	TraceHeader  = "X-B3-TraceId"
	SpanHeader   = "X-B3-SpanId"
	ParentHeader = "X-B3-ParentSpanId"
	SampleHeader = "X-B3-Sampled"
)

// DefaultCollector is where spans go without the option trace.Collectors.
const DefaultCollector = "http://127.0.0.1:9411/api/v2/spans"

// NewTrace returns a plugin that sends spans to Zipkin. Its wrappers write the
// header b3, its NewHeader the X-B3-* headers too; all headers are read.
//
// trace.Collectors takes URLs, by default with the path /api/v2/spans, or
// "host:port" for http; each batch goes to one of them. Spans are refused for good
// when all of them refuse. trace.Client and trace.Topic have no effect.
func NewTrace(opts ...trace.Option) trace.Trace {
	o := NewOptions(opts...)
	return trace.NewPlugin("zipkin", &exporter{options: o}, o)
}

// NewOptions returns the defaults of Zipkin's plugins with opts applied.
func NewOptions(opts ...trace.Option) trace.Options {
	return trace.NewOptions(append([]trace.Option{
		trace.Headers(trace.B3),
		trace.Legacy(trace.B3Multi),
	}, opts...)...)
}

type exporter struct {
	options trace.Options
	urls    []string
	turn    turn.Turn
	client  *http.Client
}

// Start implements trace.Exporter.
func (e *exporter) Start() error {
	collectors := e.options.Collectors
	if len(collectors) == 0 {
		collectors = []string{DefaultCollector}
	}
	e.urls = nil
	check := option.Of("trace")
	for _, c := range collectors {
		u, ok := collectorURL(c)
		check.That(ok, "Collectors", "%q is not an HTTP address of Zipkin; spans go to Kafka by trace/zipkin/kafka", c)
		e.urls = append(e.urls, u)
	}
	if err := check.Err(); err != nil {
		return err
	}
	e.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: e.options.TLS, MaxIdleConns: 2, IdleConnTimeout: time.Minute},
		// A POST that is redirected would become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// path is the path of Zipkin's API for spans.
const path = "/api/v2/spans"

// kafkaPort is the port of Kafka's brokers, which were the collectors of the
// original go-platform's Zipkin plugin. For a Zipkin at this port write "http://"
// before the address.
const kafkaPort = "9092"

func collectorURL(c string) (string, bool) {
	if !strings.Contains(c, "://") {
		if host, port, err := net.SplitHostPort(c); err != nil || host == "" || port == "" || port == kafkaPort {
			return "", false
		}
		c = "http://" + c
	}
	u, err := url.Parse(c)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = path
	}
	return u.String(), true
}

// Stop implements trace.Exporter.
func (e *exporter) Stop() error {
	e.client.CloseIdleConnections()
	return nil
}

// Export implements trace.Exporter.
func (e *exporter) Export(ctx context.Context, spans []*trace.Span) error {
	body, rejected, err := Encode(spans)
	if err != nil {
		return err
	}
	if rejected.Count == len(spans) {
		return rejected
	}
	errs := e.turn.Try(ctx, len(e.urls), e.options.CollectTimeout, func(ctx context.Context, i int) error {
		return e.post(ctx, e.urls[i], body)
	})
	switch {
	case errs == nil && rejected.Count > 0:
		return rejected
	case errs == nil:
		return nil
	case turn.All(errs, len(e.urls), trace.ErrInvalid): // some of the spans are at fault
		return errors.Join(errs...)
	case turn.All(errs, len(e.urls), errRefused):
		return &trace.RejectedError{Count: len(spans), Reason: errors.Join(errs...).Error()}
	}
	return errors.New(errors.Join(errs...).Error()) // without ErrInvalid: others may take what some refuse
}

// errRefused is an answer that will be the same next time.
var errRefused = errors.New("refused")

func (e *exporter) post(ctx context.Context, u string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(body))
	if err != nil {
		return clean.URLError(err)
	}
	where := clean.URLs(u)
	req.Header.Set("Content-Type", reporter.JSONSerializer{}.ContentType())
	req.Header.Set("b3", "0") // keeps proxies from tracing this
	rsp, err := e.client.Do(req)
	if err != nil {
		return clean.URLError(err)
	}
	defer func() { _ = rsp.Body.Close() }()                // it was read as far as of interest
	detail, _ := io.ReadAll(io.LimitReader(rsp.Body, 200)) // it is only for the message
	switch code := rsp.StatusCode; {
	case code == http.StatusAccepted, code/100 == 2 && len(detail) == 0:
		return nil
	case code/100 == 2: // a page of something else: a collector has nothing to say
		return fmt.Errorf("post spans to %s: status %d of what is not a Zipkin: %.80q", u, code, detail)
	case code/100 == 5 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return fmt.Errorf("post spans to %s: status %d", where, code)
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("post spans to %s: %w (%w) with status %d: %s", where, errRefused, trace.ErrInvalid, code, detail)
	default:
		return fmt.Errorf("post spans to %s: %w with status %d: %s", where, errRefused, code, detail)
	}
}
