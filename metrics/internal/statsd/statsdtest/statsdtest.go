// Package statsdtest is a statsd server for tests: it keeps the datagrams and
// sums up what they say. It reads strictly and on its own; that Telegraf reads
// the same is shown in internal/interop/telegraf.
package statsdtest

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/internal/statsd"
	"github.com/micro/go-platform/metrics/metricstest"
)

// Server listens on a free UDP port of the loopback.
type Server struct {
	Addr string
	conn net.PacketConn

	mu      sync.Mutex
	packets []string
}

// Listen starts a server that ends with the test.
func Listen(t testing.TB, addr string) *Server {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UDPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: conn.LocalAddr().String(), conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read(t)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return s
}

// Close frees the port.
func (s *Server) Close() { _ = s.conn.Close() } // twice is fine

func (s *Server) read(t testing.TB) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := s.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		s.packets = append(s.packets, string(buf[:n]))
		s.mu.Unlock()
	}
}

// Packets returns the datagrams so far.
func (s *Server) Packets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.packets...)
}

// Points sums up the datagrams, as metricstest's harness wants them.
func (s *Server) Points(t testing.TB, d statsd.Dialect) map[string]metricstest.Point {
	t.Helper()
	return Parse(t, d, s.Packets())
}

// Parse sums up datagrams and fails the test at the first that is not right.
func Parse(t testing.TB, d statsd.Dialect, packets []string) map[string]metricstest.Point {
	t.Helper()
	points := map[string]metricstest.Point{}
	for _, p := range packets {
		if len(p) > statsd.MaxPacket {
			t.Fatalf("datagram of %d bytes", len(p))
		}
		for line := range strings.SplitSeq(p, "\n") {
			if err := parse(points, d, line); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
		}
	}
	return points
}

func parse(points map[string]metricstest.Point, d statsd.Dialect, line string) error {
	fields := metrics.Fields{}
	if d == statsd.Dog {
		var tags string
		line, tags, _ = strings.Cut(line, "|#")
		if err := pairs(fields, tags, ":"); err != nil {
			return err
		}
	}
	head, values, ok := strings.Cut(line, ":")
	if !ok || strings.ContainsAny(head, "|@#\r\t \\") {
		return errors.New("no value, or a bad name")
	}
	if d == statsd.Telegraf {
		name, tags, _ := strings.Cut(head, ",")
		head = name
		if err := pairs(fields, tags, "="); err != nil {
			return err
		}
	}
	key := strings.TrimPrefix(head, "ns.")
	if d != statsd.Plain {
		key = metricstest.Key(key, fields)
	}
	for value := range strings.SplitSeq(values, ":") {
		p, err := add(points[key], value, d != statsd.Dog)
		if err != nil {
			return err
		}
		points[key] = p
	}
	return nil
}

func pairs(f metrics.Fields, tags, sep string) error {
	for tag := range strings.SplitSeq(tags, ",") {
		if name, value, ok := strings.Cut(tag, sep); tags != "" {
			if !ok || name == "" || value == "" || f[name] != "" {
				return fmt.Errorf("bad tag %q", tag)
			}
			f[name] = value
		}
	}
	return nil
}

// add applies "value|type|@rate".
func add(p metricstest.Point, s string, signIsStep bool) (metricstest.Point, error) {
	parts := strings.Split(s, "|")
	if len(parts) < 2 {
		return p, errors.New("no type")
	}
	value, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return p, err
	}
	weight := int64(1)
	if len(parts) == 3 {
		rate, err := strconv.ParseFloat(strings.TrimPrefix(parts[2], "@"), 64)
		if err != nil {
			return p, err
		}
		weight = int64(1 / rate)
	}
	switch {
	case parts[1] == "c", parts[1] == "g" && value < 0 && signIsStep:
		p.Value += value
	case parts[1] == "g":
		p.Value = value
	case parts[1] == "ms":
		p.Value += value * weight
		p.Count += weight
	default:
		return p, fmt.Errorf("unknown type %q", parts[1])
	}
	return p, nil
}
