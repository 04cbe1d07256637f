// Package fluentd shows that a Forward receiver that is not ours understands
// log/fluentd: that of the OpenTelemetry collector.
package fluentd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/fluentd"
	"github.com/micro/go-platform/log/logtest"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/fluentforwardreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

// collector is the receiver and what it handed on. It can refuse, which means
// that it does not acknowledge, and be restarted at its address.
type collector struct {
	t       testing.TB
	address string
	running receiver.Logs

	mu      sync.Mutex
	refuse  bool
	refused int // chunks
	events  []*log.Event
}

func start(t testing.TB) *collector {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{t: t, address: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *collector) start() {
	c.t.Helper()
	sink, err := consumer.NewLogs(c.consume)
	if err != nil {
		c.t.Fatal(err)
	}
	factory := fluentforwardreceiver.NewFactory()
	conf := factory.CreateDefaultConfig().(*fluentforwardreceiver.Config)
	conf.ListenAddress = c.address
	r, err := factory.CreateLogs(context.Background(), receivertest.NewNopSettings(factory.Type()), conf, sink)
	if err == nil {
		err = r.Start(context.Background(), componenttest.NewNopHost())
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.running = r
}

func (c *collector) stop() {
	if c.running == nil {
		return
	}
	if err := c.running.Shutdown(context.Background()); err != nil {
		c.t.Error(err)
	}
	c.running = nil
}

func (c *collector) consume(_ context.Context, logs plog.Logs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse {
		c.refused++
		return errors.New("refused")
	}
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				c.events = append(c.events, c.event(record))
			}
		}
	}
	return nil
}

func (c *collector) event(record plog.LogRecord) *log.Event {
	attributes := record.Attributes()
	if tag, _ := attributes.Get("fluent.tag"); tag.AsString() != "shop.orders" {
		c.t.Errorf("tag %q", tag.AsString())
	}
	name, _ := attributes.Get("level")
	level, err := log.ParseLevel(name.AsString())
	if err != nil {
		c.t.Error(err)
	}
	e := &log.Event{Level: level, Timestamp: record.Timestamp().AsTime().UnixNano(), Message: record.Body().AsString(), Fields: log.Fields{}}
	if fields, ok := attributes.Get("fields"); ok {
		fields.Map().Range(func(k string, v pcommon.Value) bool {
			e.Fields[k] = v.AsString()
			return true
		})
	}
	return e
}

func (c *collector) read() []*log.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*log.Event(nil), c.events...)
}

func (c *collector) output() log.Output {
	return fluentd.NewOutput(log.OutputName("tcp://"+c.address), fluentd.Tag("shop.orders"),
		log.OutputInterval(5*time.Millisecond), log.OutputTimeout(time.Second),
		log.OutputLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
}

func TestCollectorUnderstands(t *testing.T) {
	logtest.RunOutput(t, func(t testing.TB) logtest.Fixture {
		c := start(t)
		return logtest.Fixture{Output: c.output(), Read: c.read}
	})
}

func TestReceiverRestarts(t *testing.T) {
	c := start(t)
	l := log.NewLog(log.WithOutput(c.output()))
	for i := range 300 {
		switch i {
		case 100:
			c.stop()
		case 200:
			c.start()
		}
		l.Info(i)
		time.Sleep(time.Millisecond) // in many chunks
	}
	if err := l.Stop(); err != nil || l.Dropped() != 0 {
		t.Errorf("%v, dropped %d", err, l.Dropped())
	}
	missing(t, c, 300)
}

func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	c := start(t)
	c.mu.Lock()
	c.refuse = true
	c.mu.Unlock()
	l := log.NewLog(log.WithOutput(c.output()))
	for i := range 50 {
		l.Info(i)
	}
	logtest.Eventually(t, "a chunk is refused, and refused again", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.refused >= 2
	})
	c.mu.Lock()
	c.refuse = false
	c.mu.Unlock()
	logtest.Eventually(t, "all events", func() bool { return len(c.read()) >= 50 })
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	missing(t, c, 50)
}

// missing checks that each message came once at least: that it comes no oftener
// the protocol does not promise.
func missing(t *testing.T, c *collector, n int) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range c.read() {
		seen[e.Message] = true
	}
	for i := range n {
		if !seen[strconv.Itoa(i)] {
			t.Error(fmt.Sprint("event ", i, " is lost"))
		}
	}
}
