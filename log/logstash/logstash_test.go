package logstash_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logstash"
	"github.com/micro/go-platform/log/logtest"
)

// server is a Logstash: it reads lines or datagrams and refuses what is not as
// its codec wants it. It can die and come back at its address.
type server struct {
	t       testing.TB
	network string
	address string
	tls     *tls.Config

	mu      sync.Mutex
	closers []io.Closer
	events  []*log.Event
	wg      sync.WaitGroup
}

func serve(t testing.TB, network string) *server {
	s := &server{t: t, network: network, address: backend.Address(t)}
	s.start()
	t.Cleanup(s.die)
	return s
}

func (s *server) start() {
	s.t.Helper()
	if s.network == "udp" {
		conn, err := net.ListenPacket("udp", s.address)
		if err != nil {
			s.t.Fatal(err)
		}
		s.address = conn.LocalAddr().String()
		s.own(conn)
		s.wg.Go(func() { s.datagrams(conn) })
		return
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	s.own(l)
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.own(conn)
			s.wg.Go(func() { s.lines(conn) })
		}
	})
}

func (s *server) own(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, c)
}

func (s *server) die() {
	s.mu.Lock()
	for _, c := range s.closers {
		_ = c.Close() // it may be closed already
	}
	s.closers = nil
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *server) lines(conn net.Conn) {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // what is left is a line cut off
		}
		s.take(line)
	}
}

func (s *server) datagrams(conn net.PacketConn) {
	data := make([]byte, 1<<16)
	for {
		n, _, err := conn.ReadFrom(data)
		if err != nil {
			return
		}
		s.take(data[:n])
	}
}

// take checks one event strictly and keeps it.
func (s *server) take(line []byte) {
	var got struct {
		Timestamp string     `json:"@timestamp"`
		Version   string     `json:"@version"`
		Level     log.Level  `json:"level"`
		Message   string     `json:"message"`
		Fields    log.Fields `json:"fields"`
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&got)
	at, timeErr := time.Parse(time.RFC3339, got.Timestamp)
	if err != nil || timeErr != nil || got.Version != "1" || !strings.HasSuffix(got.Timestamp, "Z") {
		s.t.Errorf("bad event %q: %v, %v", line, err, timeErr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, &log.Event{Level: got.Level, Timestamp: at.UnixNano(), Message: got.Message, Fields: got.Fields})
}

func (s *server) read() []*log.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*log.Event(nil), s.events...)
}

func (s *server) output(opts ...log.OutputOption) log.Output {
	opts = append([]log.OutputOption{
		log.OutputName(s.network + "://" + s.address),
		log.OutputInterval(5 * time.Millisecond),
		log.OutputLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	}, opts...)
	return logstash.NewOutput(opts...)
}

func TestTCP(t *testing.T) {
	logtest.RunOutput(t, func(t testing.TB) logtest.Fixture {
		s := serve(t, "tcp")
		return logtest.Fixture{Output: s.output(), Read: s.read}
	})
}

func TestUDP(t *testing.T) {
	logtest.RunLossyOutput(t, func(t testing.TB) logtest.Fixture {
		s := serve(t, "udp")
		return logtest.Fixture{Output: s.output(), Read: s.read}
	})
}

// has reports whether an event with the message arrived.
func (s *server) has(message string) bool {
	for _, e := range s.read() {
		if e.Message == message {
			return true
		}
	}
	return false
}

func TestServerDiesAndReturns(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			s := serve(t, network)
			out := s.output()
			l := log.NewLog(log.WithOutput(out))
			l.Info("up")
			logtest.Eventually(t, "the first event", func() bool { return s.has("up") })
			s.die()
			for i := range 50 {
				l.Info("down ", i)
				time.Sleep(time.Millisecond) // in many batches, some of them refused
			}
			s.start()
			n := 0
			logtest.Eventually(t, "events after the return", func() bool {
				n++
				l.Info("back ", n)
				return s.has("back 1")
			})
			if err := l.Stop(); err != nil {
				t.Error(err)
			}
			if network == "udp" {
				return // what was sent before the first refusal is lost
			}
			for i := 1; i < 50; i++ {
				if !s.has(fmt.Sprint("down ", i)) {
					t.Errorf("event %d, sent to a server known to be dead, is lost", i)
				}
			}
		})
	}
}

func TestDeadFromTheStart(t *testing.T) {
	s := serve(t, "tcp")
	s.die()
	out := s.output()
	if err := out.(interface{ Start() error }).Start(); err != nil {
		t.Errorf("Start: %v", err)
	}
	for i := range 10 {
		if err := out.Send(&log.Event{Message: fmt.Sprint(i)}); err != nil {
			t.Error(err)
		}
	}
	s.start()
	if err := errors.Join(out.Flush(), out.Close()); err != nil {
		t.Error(err)
	}
	logtest.Eventually(t, "what waited", func() bool { return len(s.read()) == 10 })
}

// TestTLS asks the server what arrived: Logstash acknowledges nothing, and a client
// learns late that its certificate was refused.
func TestTLS(t *testing.T) {
	s := serve(t, "tcp")
	n := 0
	rpctest.Handshakes(t, s.address, func(_ *testing.T, addr string, c *tls.Config) error {
		n++
		message := fmt.Sprint("secret ", n)
		out := s.output(log.OutputName("tcp://"+addr), logstash.TLS(c))
		if err := errors.Join(out.Send(&log.Event{Message: message}), out.Close()); err != nil {
			return err
		}
		for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if s.has(message) {
				return nil
			}
		}
		return errors.New("nothing arrived")
	})
}

func TestLargeEvents(t *testing.T) {
	big := &log.Event{Level: log.ErrorLevel, Message: strings.Repeat("\x01", log.MaxMessage), Fields: log.Fields{}}
	for i := range log.MaxFields {
		big.Fields[fmt.Sprint(i)] = strings.Repeat("\x1b", log.MaxValue)
	}
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			s := serve(t, network)
			out := s.output()
			if err := errors.Join(out.Send(big), out.Flush()); err != nil {
				t.Fatal(err)
			}
			logtest.Eventually(t, "the event", func() bool { return len(s.read()) == 1 })
			if err := out.Close(); err != nil {
				t.Error(err)
			}
			got := s.read()[0]
			whole := len(got.Message) == log.MaxMessage && len(got.Fields) == log.MaxFields
			if network == "tcp" && !whole {
				t.Errorf("message of %d bytes, %d fields", len(got.Message), len(got.Fields))
			}
			if network == "udp" && got.Fields["fields_dropped"] != "64" {
				t.Errorf("fields %v", got.Fields)
			}
		})
	}
}

func TestBadAddress(t *testing.T) {
	for _, name := range []string{"127.0.0.1:5000", "http://127.0.0.1:5000", "tcp://127.0.0.1", "tcp://:5000", "tcp://h:1/path", "://"} {
		out := logstash.NewOutput(log.OutputName(name))
		if err := out.(interface{ Start() error }).Start(); err == nil || !strings.Contains(err.Error(), "OutputName") {
			t.Errorf("%q: got %v", name, err)
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	}
}
