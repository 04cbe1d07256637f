package fluentd_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
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
	"github.com/micro/go-platform/log/fluentd"
	"github.com/micro/go-platform/log/logtest"
	"github.com/tinylib/msgp/msgp"
)

// server speaks as much of the Forward protocol as is needed to see what the
// output does when acknowledgements fail. That real servers understand it is
// shown in internal/interop/fluentd.
type server struct {
	t       testing.TB
	network string
	address string
	tls     *tls.Config

	mu      sync.Mutex
	closers []io.Closer
	chunks  map[string]int // how often each id came
	events  []*log.Event   // of chunks when they first came
	reply   func(chunk string) []byte
	wg      sync.WaitGroup
}

func serve(t testing.TB, network, address string) *server {
	s := &server{t: t, network: network, address: address, chunks: map[string]int{}, reply: ack}
	s.start()
	t.Cleanup(s.die)
	return s
}

func ack(chunk string) []byte {
	return msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "ack"), chunk)
}

func (s *server) start() {
	l, err := net.Listen(s.network, s.address)
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
			s.wg.Go(func() { s.serveConn(conn) })
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

func (s *server) set(reply func(string) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

func (s *server) serveConn(conn net.Conn) {
	defer conn.Close()
	r := msgp.NewReader(conn)
	for {
		v, err := r.ReadIntf()
		if err != nil {
			return
		}
		m, ok := v.([]any)
		if !ok || len(m) != 3 || m[0] != "the.tag" {
			s.t.Errorf("no PackedForward: %v", v)
			return
		}
		option := m[2].(map[string]any)
		if reply := s.take(m[1].([]byte), option["chunk"].(string), option["size"]); reply != nil {
			if _, err := conn.Write(reply); err != nil {
				return
			}
			continue
		}
		return
	}
}

func (s *server) take(entries []byte, chunk string, size any) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chunks[chunk]++; s.chunks[chunk] == 1 {
		events := decode(s.t, entries)
		if fmt.Sprint(size) != fmt.Sprint(len(events)) {
			s.t.Errorf("size %v of %d entries", size, len(events))
		}
		s.events = append(s.events, events...)
	}
	return s.reply(chunk)
}

func decode(t testing.TB, entries []byte) []*log.Event {
	var events []*log.Event
	for r := msgp.NewReader(bytes.NewReader(entries)); ; {
		n, err := r.ReadArrayHeader()
		if errors.Is(err, io.EOF) {
			return events
		}
		var at msgp.RawExtension
		if err = errors.Join(err, r.ReadExtension(&at)); err != nil || n != 2 || len(at.Data) != 8 {
			t.Errorf("bad entry: %v", err)
			return events
		}
		m := map[string]any{}
		if err := r.ReadMapStrIntf(m); err != nil {
			t.Errorf("bad record: %v", err)
			return events
		}
		level, err := log.ParseLevel(m["level"].(string))
		if err != nil || len(m) != 3 {
			t.Errorf("bad record %v: %v", m, err)
		}
		fields := log.Fields{}
		for k, v := range m["fields"].(map[string]any) {
			fields[k] = v.(string)
		}
		seconds, nanos := binary.BigEndian.Uint32(at.Data), binary.BigEndian.Uint32(at.Data[4:])
		events = append(events, &log.Event{
			Level: level, Message: m["message"].(string), Fields: fields,
			Timestamp: time.Unix(int64(seconds), int64(nanos)).UnixNano(),
		})
	}
}

func (s *server) read() []*log.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*log.Event(nil), s.events...)
}

func (s *server) output(opts ...log.OutputOption) log.Output {
	name := "tcp://" + s.address
	if s.network == "unix" {
		name = "unix://" + s.address
	}
	opts = append([]log.OutputOption{
		log.OutputName(name), fluentd.Tag("the.tag"), log.OutputInterval(5 * time.Millisecond),
		log.OutputTimeout(5 * time.Second),
		log.OutputLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	}, opts...)
	return fluentd.NewOutput(opts...)
}

func TestFluentd(t *testing.T) {
	logtest.RunOutput(t, func(t testing.TB) logtest.Fixture {
		s := serve(t, "tcp", "127.0.0.1:0")
		return logtest.Fixture{Output: s.output(), Read: s.read}
	})
}

func TestUnixSocket(t *testing.T) {
	s := serve(t, "unix", t.TempDir()+"/s")
	out := s.output()
	if err := errors.Join(out.Send(&log.Event{Message: "m"}), out.Flush(), out.Close()); err != nil {
		t.Error(err)
	}
	if len(s.read()) != 1 {
		t.Error("nothing arrived")
	}
}

func TestTLS(t *testing.T) {
	s := serve(t, "tcp", "127.0.0.1:0")
	rpctest.Handshakes(t, s.address, func(_ *testing.T, addr string, c *tls.Config) error {
		out := s.output(log.OutputName("tcp://"+addr), fluentd.TLS(c))
		return errors.Join(out.Send(&log.Event{Message: "m"}), out.Close())
	})
}

// A chunk without its acknowledgement comes again under the same id.
func TestChunkIsRepeatedUntilAcknowledged(t *testing.T) {
	for name, bad := range map[string]func(string) []byte{
		"connection closed": func(string) []byte { return nil },
		"silence":           func(string) []byte { return []byte{} },
		"another chunk":     func(string) []byte { return ack("AAAAAAAAAAAAAAAAAAAAAAAAAA") },
		"rubbish":           func(string) []byte { return bytes.Repeat([]byte{0xdf, 0xff}, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "tcp", "127.0.0.1:0")
			s.set(bad)
			var opts []log.OutputOption
			if name == "silence" {
				opts = append(opts, log.OutputTimeout(200*time.Millisecond)) // only its end tells
			}
			out := s.output(opts...)
			for i := range 10 {
				if err := out.Send(&log.Event{Timestamp: int64(i)}); err != nil {
					t.Fatal(err)
				}
			}
			logtest.Eventually(t, "a second try", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, n := range s.chunks {
					if n > 1 {
						return true
					}
				}
				return false
			})
			s.set(ack)
			logtest.Eventually(t, "all events", func() bool { return len(s.read()) >= 10 })
			if err := errors.Join(out.Flush(), out.Close()); err != nil {
				t.Error(err)
			}
			if n := len(s.read()); n != 10 {
				t.Errorf("%d events by chunk, want 10", n)
			}
		})
	}
}

func TestServerDiesAndReturns(t *testing.T) {
	s := serve(t, "tcp", backend.Address(t))
	l := log.NewLog(log.WithOutput(s.output()))
	for i := range 100 {
		if i == 30 {
			s.die()
		}
		if i == 70 {
			s.start()
		}
		l.Info(i)
		time.Sleep(time.Millisecond) // in many chunks
	}
	logtest.Eventually(t, "every event", func() bool { return len(s.read()) >= 100 })
	if err := l.Stop(); err != nil || l.Dropped() != 0 {
		t.Errorf("%v, dropped %d", err, l.Dropped())
	}
	if len(s.read()) != 100 {
		t.Errorf("%d events by chunk, want 100", len(s.read()))
	}
}

func TestBadOptions(t *testing.T) {
	for option, opts := range map[string][]log.OutputOption{
		"OutputName":  {log.OutputName("udp://127.0.0.1:1")},
		"OutputName:": {log.OutputName("unix://host/path")},
		"Tag":         {fluentd.Tag("")},
	} {
		out := fluentd.NewOutput(opts...)
		if err := out.(interface{ Start() error }).Start(); err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s: got %v", option, err)
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	}
}
