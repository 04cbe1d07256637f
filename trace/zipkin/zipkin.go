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
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openzipkin/zipkin-go/reporter"

	"github.com/micro/go-platform/trace"
)

// DefaultCollector is where spans go without the option trace.Collectors.
const DefaultCollector = "http://127.0.0.1:9411/api/v2/spans"

// NewTrace returns a plugin that sends spans to Zipkin. Its wrappers write the
// header b3, its NewHeader the X-B3-* headers too; all headers are read.
//
// trace.Collectors takes URLs, or "host:port" for the usual path over http;
// the first one that answers gets a batch. trace.Client and trace.Topic have
// no effect.
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
	client  *http.Client
}

// Start implements trace.Exporter.
func (e *exporter) Start() error {
	collectors := e.options.Collectors
	if len(collectors) == 0 {
		collectors = []string{DefaultCollector}
	}
	e.urls = nil
	for _, c := range collectors {
		u, err := collectorURL(c)
		if err != nil {
			return err
		}
		e.urls = append(e.urls, u)
	}
	e.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: e.options.TLS, MaxIdleConns: 2, IdleConnTimeout: time.Minute},
		// A POST that is redirected would become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

func collectorURL(c string) (string, error) {
	if !strings.Contains(c, "://") {
		c = "http://" + c + "/api/v2/spans"
	}
	u, err := url.Parse(c)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("option Collectors: %q is neither a URL nor host:port", c)
	}
	return c, nil
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
	var errs []error
	for _, u := range e.urls {
		if err = e.post(ctx, u, body); err == nil {
			break
		}
		errs = append(errs, err)
	}
	switch {
	case err == nil && rejected.Count > 0:
		return rejected
	case err == nil:
		return nil
	case errors.Is(err, errRefused):
		return &trace.RejectedError{Count: len(spans), Reason: err.Error()}
	}
	return errors.Join(errs...)
}

// errRefused is an answer that will be the same next time.
var errRefused = errors.New("refused")

func (e *exporter) post(ctx context.Context, u string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", reporter.JSONSerializer{}.ContentType())
	req.Header.Set("b3", "0") // keeps proxies from tracing this
	rsp, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = rsp.Body.Close() }()                // it was read as far as of interest
	detail, _ := io.ReadAll(io.LimitReader(rsp.Body, 200)) // it is only for the message
	switch code := rsp.StatusCode; {
	case code/100 == 2:
		return nil
	case code/100 == 5 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return fmt.Errorf("post spans to %s: status %d", u, code)
	default:
		return fmt.Errorf("post spans to %s: %w with status %d: %s", u, errRefused, code, detail)
	}
}
