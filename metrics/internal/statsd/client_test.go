package statsd_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/leak"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/metrics/internal/statsd"
	"github.com/micro/go-platform/metrics/internal/statsd/statsdtest"
	"github.com/micro/go-platform/metrics/metricstest"
)

// go-micro starts a goroutine when it is imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }

const interval = 10 * time.Millisecond

// steady is a client that sends "x:1|c" at each interval.
func steady(conf statsd.Config) *statsd.Client {
	series := &statsd.Series{Head: "x"}
	conf.Interval = interval
	conf.Report = func(*slog.Logger) {}
	conf.Logger = slog.New(slog.DiscardHandler)
	conf.Collect = func(bool) ([]statsd.Packet, int) {
		var b statsd.Builder
		b.Counter(series, 1)
		return b.Packets()
	}
	return statsd.New(conf)
}

func start(t *testing.T, c *statsd.Client) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !metricstest.Eventually(cond) {
		t.Fatal("never: " + what)
	}
}

func got(s *statsdtest.Server) func() bool { return func() bool { return len(s.Packets()) > 2 } }

func TestAllCollectorsReceive(t *testing.T) {
	a, b := statsdtest.Listen(t, "127.0.0.1:0"), statsdtest.Listen(t, "127.0.0.1:0")
	c := steady(statsd.Config{Collectors: []string{a.Addr, b.Addr}})
	start(t, c)
	eventually(t, "first collector", got(a))
	eventually(t, "second collector", got(b))
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestRestartedCollectorIsFoundAgain(t *testing.T) {
	first := statsdtest.Listen(t, backend.Address(t))
	c := steady(statsd.Config{Collectors: []string{first.Addr}})
	start(t, c)
	eventually(t, "packets", got(first))
	first.Close()
	eventually(t, "counted drops", func() bool { return c.Dropped() > 2 })
	again := statsdtest.Listen(t, first.Addr)
	eventually(t, "packets after the restart", got(again))
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}

// A name that moves to another address is followed, without an error.
func TestAddressIsResolvedAgain(t *testing.T) {
	a, b := statsdtest.Listen(t, "127.0.0.1:0"), statsdtest.Listen(t, "127.0.0.1:0")
	var now atomic.Pointer[string]
	now.Store(&a.Addr)
	c := steady(statsd.Config{
		Collectors: []string{"statsd.example:8125"},
		Resolve:    5 * interval,
		Dial: func(_ context.Context, addr string) (net.Conn, error) {
			if addr != "statsd.example:8125" {
				return nil, errors.New("unexpected address " + addr)
			}
			if target := now.Load(); target != nil {
				return net.Dial("udp", *target)
			}
			return nil, errors.New("no such host")
		},
	})
	start(t, c)
	eventually(t, "packets at the old address", got(a))
	now.Store(nil) // the look-up fails: the old address serves on
	seen := len(a.Packets())
	eventually(t, "packets while the name is unknown", func() bool { return len(a.Packets()) > seen+10 })
	now.Store(&b.Addr)
	eventually(t, "packets at the new address", got(b))
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}

// One collector whose look-up hangs delays neither the other nor Stop.
func TestHangingLookUp(t *testing.T) {
	fine := statsdtest.Listen(t, "127.0.0.1:0")
	c := steady(statsd.Config{
		Collectors: []string{"hangs:1", fine.Addr},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr == "hangs:1" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return net.Dial("udp", addr)
		},
	})
	start(t, c)
	eventually(t, "the other collector's packets", got(fine))
	eventually(t, "counted drops", func() bool { return c.Dropped() > 0 })
	begin := time.Now()
	if err := c.Stop(); !errors.Is(err, lifecycle.ErrLost) {
		t.Errorf("Stop: %v, want what was lost", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Stop took %v", took)
	}
}

func TestUnsendableIsCounted(t *testing.T) {
	c := steady(statsd.Config{Collectors: []string{"no-such-host.invalid:8125"}, Dial: func(context.Context, string) (net.Conn, error) {
		return nil, errors.New("no such host")
	}})
	start(t, c)
	eventually(t, "counted drops", func() bool { return c.Dropped() > 3 })
	if c.Stop() == nil {
		t.Error("Stop does not tell of the loss")
	}
}

func TestPackets(t *testing.T) {
	b := statsd.Builder{Dialect: statsd.Telegraf}
	a, z := &statsd.Series{Head: "ns.a,k=v"}, &statsd.Series{Head: "ns.z"}
	b.Counter(a, -3)
	b.Gauge(z, -5)
	b.Samples(z, []int64{1, -2, 3}, 4)
	packets, dropped := b.Packets()
	want := "ns.a,k=v:-3|c\nns.z:0|g:-5|g:1|ms|@0.25:3|ms|@0.25"
	if len(packets) != 1 || string(packets[0].Data) != want || packets[0].Lines != 4 || dropped != 4 {
		t.Errorf("got %+v, %d dropped, want %q", packets, dropped, want)
	}
	if packets, dropped := b.Packets(); len(packets) != 0 || dropped != 0 {
		t.Errorf("the builder is not empty: %+v, %d", packets, dropped)
	}
}

// Datagrams are full, but never beyond the bound, and each is whole by itself.
func TestPacketsAreBounded(t *testing.T) {
	for _, d := range []statsd.Dialect{statsd.Telegraf, statsd.Plain, statsd.Dog} {
		b := statsd.Builder{Dialect: d}
		long := &statsd.Series{Head: strings.Repeat("n", 1000)}
		b.Samples(long, slices.Repeat([]int64{1 << 62}, 1000), 1<<30)
		for range 1000 {
			b.Counter(&statsd.Series{Head: "short", Tail: "|#k:v"}, 1)
		}
		packets, _ := b.Packets()
		lines, small := 0, 0
		for _, p := range packets {
			lines += p.Lines
			if len(p.Data) > statsd.MaxPacket || !strings.ContainsAny(string(p.Data[:1]), "ns") {
				t.Fatalf("%v: datagram of %d bytes: %.60q", d, len(p.Data), p.Data)
			}
			if len(p.Data) < statsd.MaxPacket/2 {
				small++
			}
		}
		if lines != 2000 || small > 1 {
			t.Errorf("%v: %d values, want 2000; %d half-empty datagrams", d, lines, small)
		}
	}
}
