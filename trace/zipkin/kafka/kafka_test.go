package kafka_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go/model"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/tracetest"
	"github.com/micro/go-platform/trace/zipkin/kafka"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestSpansReachZipkinThroughKafka(t *testing.T) {
	broker := backend.Kafka(t)
	server := backend.Zipkin(t, backend.FromKafka(broker.Addr))
	newTrace := func(t testing.TB, opts ...trace.Option) trace.Trace {
		return kafka.NewTrace(append([]trace.Option{
			trace.Collectors([]string{broker.Addr}), trace.Logger(rpctest.New(t).Logger),
			trace.CollectTimeout(20 * time.Second), // the first record makes the topic
		}, opts...)...)
	}
	warm(t, newTrace, server.URL)
	tracetest.Run(t, newTrace)
	tracetest.RunExport(t, newTrace, func(t testing.TB, id string) (found []tracetest.Span) {
		for _, m := range read(t, server.URL, id) {
			found = append(found, suiteSpan(m))
		}
		return found
	})
	t.Run("TooLargeForOneRecord", func(t *testing.T) { tooLarge(t, newTrace, server.URL) })
	t.Run("Outage", func(t *testing.T) { outage(t, newTrace, broker, server.URL) })
}

// warm waits until Zipkin reads the topic, which takes it a while to notice.
func warm(t *testing.T, newTrace tracetest.New, url string) {
	tr := newTrace(t, trace.BatchInterval(10*time.Millisecond))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	s := tr.NewSpan(nil)
	if err := tr.Collect(s); err != nil {
		t.Fatal(err)
	}
	arrive(t, url, s.TraceId, 1)
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
}

func arrive(t *testing.T, url, id string, n int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if len(read(t, url, id)) == n {
			return
		}
	}
	t.Fatalf("the trace never had %d spans", n)
}

func tooLarge(t *testing.T, newTrace tracetest.New, url string) {
	tr := newTrace(t, trace.BatchInterval(50*time.Millisecond))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	root := tr.NewSpan(nil)
	for range 40 { // 40 × 128 KiB, five times what a record may have
		s := tr.NewSpan(root)
		for n := range trace.MaxAnnotations {
			s.Annotate(strings.Repeat("k", n+1), strings.Repeat("v", trace.MaxValue))
		}
		if err := tr.Collect(s); err != nil {
			t.Fatal(err)
		}
	}
	arrive(t, url, root.TraceId, 40)
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
}

func outage(t *testing.T, newTrace tracetest.New, broker *backend.Server, url string) {
	tr := newTrace(t, trace.BatchInterval(50*time.Millisecond), trace.CollectTimeout(2*time.Second))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	root := tr.NewSpan(nil)
	collect := func() {
		t.Helper()
		if err := tr.Collect(tr.NewSpan(root)); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	arrive(t, url, root.TraceId, 1)
	broker.Kill(t)
	for range 10 {
		collect()
	}
	broker.Restart(t)
	arrive(t, url, root.TraceId, 11)
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestTLS has the front before a server that only counts connections: a real
// broker would name itself at its own address.
func TestTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			reached.Add(1)
			_ = c.Close() // the client takes it for a broker that died
		}
	}()
	defer func() {
		_ = l.Close() // ends the loop
		<-done
	}()
	rpctest.Handshakes(t, l.Addr().String(), func(t *testing.T, addr string, c *tls.Config) error {
		before := reached.Load()
		tr := kafka.NewTrace(trace.Collectors([]string{addr}), trace.TLS(c), trace.Logger(slog.New(slog.DiscardHandler)))
		if err := tr.Collect(tr.NewSpan(nil)); err != nil {
			t.Fatal(err)
		}
		if err := tr.Stop(); reached.Load() == before {
			return err
		}
		return nil
	})
}

func TestBadCollectors(t *testing.T) {
	tr := kafka.NewTrace(trace.Collectors([]string{"nowhere"}))
	const want = `trace: option Collectors: "nowhere" is not host:port`
	if err := tr.Start(); !errors.Is(err, trace.ErrInvalid) || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestLossIsCounted(t *testing.T) {
	tr := kafka.NewTrace(trace.Collectors([]string{"127.0.0.1:1"}), trace.Logger(rpctest.New(t).Logger))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Collect(tr.NewSpan(nil)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := tr.Stop(); !errors.Is(err, trace.ErrLost) || !strings.HasPrefix(err.Error(), "trace: lost 1 span: ") {
		t.Errorf("Stop returned %v", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("Stop took %v", d)
	}
	if d := tr.Dropped(); d != 1 {
		t.Errorf("%d dropped", d)
	}
}

// read returns a trace from Zipkin's API.
func read(t testing.TB, url, id string) (spans []model.SpanModel) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v2/trace/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // an idle connection would look like a leak
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }() // the test is over
	body, err := io.ReadAll(rsp.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case rsp.StatusCode == http.StatusNotFound:
		return nil
	}
	if err := json.Unmarshal(body, &spans); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return spans
}

func suiteSpan(m model.SpanModel) tracetest.Span {
	s := tracetest.Span{ID: m.ID.String(), Name: m.Name, Duration: m.Duration, Error: m.Tags["error"], Tags: m.Tags}
	if m.ParentID != nil {
		s.ParentID = m.ParentID.String()
	}
	if m.LocalEndpoint != nil {
		s.Service = m.LocalEndpoint.ServiceName
	}
	for k := trace.KindInternal; k <= trace.KindConsumer; k++ {
		if strings.EqualFold(k.String(), string(m.Kind)) {
			s.Kind = k
		}
	}
	return s
}
