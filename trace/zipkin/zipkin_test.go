package zipkin_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go/model"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/tracetest"
	"github.com/micro/go-platform/trace/zipkin"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

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

func TestRealZipkin(t *testing.T) {
	server := backend.Zipkin(t)
	t.Run("Conformance", func(t *testing.T) {
		newTrace := func(t testing.TB, opts ...trace.Option) trace.Trace {
			return zipkin.NewTrace(append([]trace.Option{trace.Collectors([]string{server.Addr}), log(t)}, opts...)...)
		}
		tracetest.Run(t, newTrace)
		tracetest.RunExport(t, newTrace, func(t testing.TB, id string) (found []tracetest.Span) {
			for _, m := range read(t, server.URL, id) {
				found = append(found, suiteSpan(m))
			}
			return found
		})
	})
	rpctest.Stacks(t, func(t *testing.T, stack string) { threeServices(t, stack, server.URL) })
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

// threeServices calls gateway → orders → stock over real sockets, each with a
// plugin of its own, and reads the trace back from Zipkin.
func threeServices(t *testing.T, stack, url string) {
	net := rpctest.New(t)
	serve := func(name, address string) (*rpctest.Echo, trace.Trace, *registry.Service) {
		tr := zipkin.NewTrace(trace.Collectors([]string{url + "/api/v2/spans"}), log(t), trace.BatchInterval(10*time.Millisecond))
		if err := tr.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tr.Stop(); err != nil {
				t.Error(err)
			}
		})
		svc := &registry.Service{Name: name, Nodes: []*registry.Node{{Id: name + "-1", Address: address}}}
		return net.Serve(stack, name, server.WrapHandler(trace.HandlerWrapper(tr, svc))), tr, svc
	}
	gateway, gatewayTrace, gatewayService := serve("gateway", "10.0.0.1:1001")
	orders, ordersTrace, ordersService := serve("orders", "[fd00::2]:1002")
	serve("stock", "10.0.0.3:1003")
	toOrders := echo.NewEchoService("orders", net.Client(stack, trace.ClientWrapper(gatewayTrace, gatewayService)))
	toStock := echo.NewEchoService("stock", net.Client(stack, trace.ClientWrapper(ordersTrace, ordersService)))
	gateway.Forward = func(ctx context.Context) error {
		_, err := toOrders.Call(ctx, &echo.Request{})
		return err
	}
	orders.Forward = func(ctx context.Context) error {
		_, err := toStock.Call(ctx, &echo.Request{SleepMs: 20, Fail: 409})
		return err
	}
	root := gatewayTrace.NewSpan(nil)
	root.Name, root.Source = "checkout", gatewayService
	ctx := gatewayTrace.NewContext(t.Context(), root)
	// The call enters by a traced client, as from a page of the gateway.
	entry := echo.NewEchoService("gateway", net.Client(stack, trace.ClientWrapper(gatewayTrace, gatewayService)))
	if _, err := entry.Call(ctx, &echo.Request{}); err == nil {
		t.Fatal("no error from stock")
	}
	trace.End(gatewayTrace, root, nil)

	var spans []model.SpanModel
	rpctest.Eventually(t, "Zipkin has the trace", func() bool {
		spans = read(t, url, root.TraceId)
		return len(spans) == 7
	})
	children := make(map[string]model.SpanModel) // by parent
	for _, s := range spans {
		parent := ""
		if s.ParentID != nil {
			parent = s.ParentID.String()
		}
		if _, twice := children[parent]; twice {
			t.Fatalf("%s has two children: the trace is no chain", parent)
		}
		children[parent] = s
	}
	at := ""
	last := time.Hour
	for _, want := range []struct {
		kind            model.Kind
		local, remote   string
		port            uint16
		fails, internal bool
	}{
		{"", "gateway", "", 1001, false, true},
		{model.Client, "gateway", "gateway", 1001, true, false},
		{model.Server, "gateway", "", 1001, true, false},
		{model.Client, "gateway", "orders", 1001, true, false},
		{model.Server, "orders", "", 1002, true, false},
		{model.Client, "orders", "stock", 1002, true, false},
		{model.Server, "stock", "", 1003, true, false},
	} {
		s, ok := children[at]
		if !ok {
			t.Fatalf("%s has no child: the trace ends early", at)
		}
		remote := ""
		if s.RemoteEndpoint != nil {
			remote = s.RemoteEndpoint.ServiceName
		}
		if s.Kind != want.kind || s.LocalEndpoint.ServiceName != want.local || s.LocalEndpoint.Port != want.port || remote != want.remote {
			t.Errorf("got %s of %+v to %q, want %+v", s.Kind, s.LocalEndpoint, remote, want)
		}
		if (s.Tags["error"] == "told to fail") != want.fails {
			t.Errorf("%s of %s: tags %v", s.Kind, want.local, s.Tags)
		}
		if s.Duration < 20*time.Millisecond || s.Duration > last {
			t.Errorf("%s of %s took %v, its parent %v", s.Kind, want.local, s.Duration, last)
		}
		at, last = s.ID.String(), s.Duration
	}
}

func log(t testing.TB) trace.Option { return trace.Logger(rpctest.New(t).Logger) }

func TestOutageAndRefusal(t *testing.T) {
	var status atomic.Int64
	var accepted atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var spans []model.SpanModel
		if err := json.NewDecoder(r.Body).Decode(&spans); err != nil || r.Header.Get("b3") != "0" {
			t.Errorf("%v, b3 %q", err, r.Header.Get("b3"))
		}
		code := int(status.Load())
		if code == http.StatusAccepted {
			accepted.Add(int64(len(spans)))
		}
		w.WriteHeader(code)
	}))
	defer srv.Close()
	tr := zipkin.NewTrace(trace.Collectors([]string{srv.URL}), log(t), trace.BatchInterval(5*time.Millisecond))
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	dropped := func() uint64 { return tr.Dropped() }
	collect := func(s *trace.Span) {
		t.Helper()
		if err := tr.Collect(s); err != nil {
			t.Fatal(err)
		}
	}
	collect(tr.NewSpan(nil))
	status.Store(http.StatusAccepted)
	rpctest.Eventually(t, "the span comes again after a 503", func() bool { return accepted.Load() == 1 })
	status.Store(http.StatusBadRequest)
	collect(tr.NewSpan(nil))
	rpctest.Eventually(t, "what was refused is counted", func() bool { return dropped() == 1 })
	status.Store(http.StatusAccepted)
	collect(&trace.Span{TraceId: "no id", Id: "no id", Timestamp: time.Now()})
	collect(&trace.Span{TraceId: strings.Repeat("a", 32), Id: strings.Repeat("b", 16), Timestamp: time.Unix(-5, 0)})
	collect(tr.NewSpan(nil))
	rpctest.Eventually(t, "the good one arrives, the others are counted", func() bool { return dropped() == 3 && accepted.Load() == 2 })
	if err := tr.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestBadCollectors(t *testing.T) {
	for _, c := range []string{"ftp://x/y", "kafka://x:9092", "127.0.0.1:9092", "nowhere", "http://", "://", "a b:c"} {
		want := fmt.Sprintf("trace: option Collectors: %q is not an HTTP address of Zipkin; spans go to Kafka by trace/zipkin/kafka", c)
		if err := zipkin.NewTrace(trace.Collectors([]string{c})).Start(); !errors.Is(err, trace.ErrInvalid) || err.Error() != want {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// A collector is a server that counts the requests at its path and answers as it
// is told.
type httpCollector struct {
	url  string
	got  atomic.Int64
	code atomic.Int64
}

func newCollector(t *testing.T, path string, code int64) *httpCollector {
	c := &httpCollector{}
	c.code.Store(code)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.got.Add(1)
		if r.URL.Path != path {
			t.Errorf("posted to %s, want %s", r.URL.Path, path)
		}
		w.WriteHeader(int(c.code.Load()))
	}))
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func TestTheNextCollectorIsTried(t *testing.T) {
	c := newCollector(t, "/api/v2/spans", http.StatusAccepted)
	for _, url := range []string{c.url, c.url + "/", c.url + "/api/v2/spans", strings.TrimPrefix(c.url, "http://")} {
		c.got.Store(0)
		tr := zipkin.NewTrace(trace.Collectors([]string{"127.0.0.1:1", url}), log(t))
		if err := errors.Join(tr.Collect(tr.NewSpan(nil)), tr.Stop()); err != nil || c.got.Load() != 1 {
			t.Errorf("%s: %v, %d requests", url, err, c.got.Load())
		}
	}
	for lie, answer := range netcut.Lies() {
		c.got.Store(0)
		liar := netcut.Liar(t, answer)
		tr := zipkin.NewTrace(trace.Collectors([]string{liar, c.url}), log(t))
		if err := errors.Join(tr.Collect(tr.NewSpan(nil)), tr.Stop()); err != nil || c.got.Load() != 1 {
			t.Errorf("%s first: %v, %d requests", lie, err, c.got.Load())
		}
	}
	proxied := newCollector(t, "/zipkin/spans", http.StatusAccepted)
	tr := zipkin.NewTrace(trace.Collectors([]string{proxied.url + "/zipkin/spans"}), log(t))
	if err := errors.Join(tr.Collect(tr.NewSpan(nil)), tr.Stop()); err != nil || proxied.got.Load() != 1 {
		t.Errorf("a path of its own: %v, %d requests", err, proxied.got.Load())
	}
}

// Another collector may take what one refuses for good: nothing is lost while it is
// down.
func TestForGoodIsWhatAllCollectorsSay(t *testing.T) {
	for _, refusal := range []int64{http.StatusBadRequest, http.StatusForbidden} {
		down, refusing := newCollector(t, "/api/v2/spans", http.StatusBadGateway), newCollector(t, "/api/v2/spans", refusal)
		tr := zipkin.NewTrace(trace.Collectors([]string{down.url, refusing.url}), log(t), trace.BatchInterval(5*time.Millisecond))
		if err := tr.Collect(tr.NewSpan(nil)); err != nil {
			t.Fatal(err)
		}
		rpctest.Eventually(t, "both were asked", func() bool { return down.got.Load() > 0 && refusing.got.Load() > 1 })
		down.code.Store(http.StatusAccepted)
		before := down.got.Load()
		rpctest.Eventually(t, "the one that was down is asked again", func() bool { return down.got.Load() > before })
		if err := tr.Stop(); err != nil || tr.Dropped() != 0 {
			t.Errorf("refused with %d: %v, %d dropped", refusal, err, tr.Dropped())
		}
	}
}

// A span that Zipkin refuses for good is dropped alone.
func TestOneRefusedSpanCostsItselfAlone(t *testing.T) {
	var accepted atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var spans []model.SpanModel
		if err := json.NewDecoder(r.Body).Decode(&spans); err != nil {
			t.Error(err)
		}
		for _, s := range spans {
			if s.Name == "bad" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		accepted.Add(int64(len(spans)))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	tr := zipkin.NewTrace(trace.Collectors([]string{srv.URL}), log(t))
	for n := range 20 {
		s := tr.NewSpan(nil)
		if n == 7 {
			s.Name = "bad"
		}
		if err := tr.Collect(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Stop(); !errors.Is(err, trace.ErrLost) || accepted.Load() != 19 || tr.Dropped() != 1 {
		t.Errorf("%v, %d arrived, %d dropped", err, accepted.Load(), tr.Dropped())
	}
}

func TestNamesOfTheOriginal(t *testing.T) {
	md := zipkin.NewTrace().NewHeader(nil, &trace.Span{TraceId: "1", Id: "2", ParentId: "3"})
	for _, k := range []string{zipkin.TraceHeader, zipkin.SpanHeader, zipkin.ParentHeader, zipkin.SampleHeader} {
		if md[k] == "" {
			t.Errorf("no %s in %v", k, md)
		}
	}
	if zipkin.TraceTopic != "zipkin" {
		t.Errorf("topic %q", zipkin.TraceTopic)
	}
}

func TestHeaders(t *testing.T) {
	tr := zipkin.NewTrace()
	if tr.String() != "zipkin" {
		t.Errorf("name %q", tr.String())
	}
	md := tr.NewHeader(nil, tr.NewSpan(nil))
	if md["b3"] == "" || md["X-B3-TraceId"] == "" || md["X-B3-SpanId"] == "" || md["X-B3-Sampled"] != "1" || len(md) != 4 {
		t.Errorf("wrote %v", md)
	}
}

func TestTLS(t *testing.T) {
	c := newCollector(t, "/api/v2/spans", http.StatusAccepted)
	rpctest.Handshakes(t, strings.TrimPrefix(c.url, "http://"), func(t *testing.T, addr string, c *tls.Config) error {
		tr := zipkin.NewTrace(trace.Collectors([]string{"https://" + addr}), trace.TLS(c), trace.Logger(slog.New(slog.DiscardHandler)))
		return errors.Join(tr.Collect(tr.NewSpan(nil)), tr.Stop())
	})
}
