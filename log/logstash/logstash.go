// Package logstash is the output to Logstash: JSON lines over TCP, or a JSON
// datagram for each event over UDP, as its tcp and udp inputs read them with the
// codecs json_lines and json. Each event is
//
//	{"@timestamp":"2026-01-02T03:04:05.000000006Z","@version":"1","level":"info","message":"started","fields":{"id":"7"}}
package logstash

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/plugin"
)

// DefaultAddress is where NewOutput sends without log.OutputName.
const DefaultAddress = "tcp://127.0.0.1:5000"

// maxDatagram is what UDP over IPv4 carries: 65 535 less the two headers.
const maxDatagram = 65507

type tlsKey struct{}

// TLS sets how to encrypt a TCP connection; the default is plain text.
func TLS(conf *tls.Config) log.OutputOption {
	return func(o *log.OutputOptions) { o.Context = context.WithValue(o.Context, tlsKey{}, conf) }
}

// NewOutput returns an output to the address of log.OutputName, "tcp://host:port"
// or "udp://host:port".
//
// Logstash acknowledges neither. Over TCP an event is written again when the
// write failed, so that one may arrive twice; what a dying server had received
// but not read is lost unseen. Over UDP an event too large for a datagram loses
// its fields and the end of its message, and says so in the field
// "fields_dropped".
func NewOutput(opts ...log.OutputOption) log.Output {
	o := log.NewOutputOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultAddress
	}
	s := &sink{}
	c := option.Of("log")
	s.network, s.address = parse(o.Name)
	c.That(s.address != "", "OutputName", "%q is not tcp://host:port or udp://host:port", o.Name)
	s.err = c.Err()
	s.tls, _ = o.Context.Value(tlsKey{}).(*tls.Config)
	return log.NewBuffer(s, o)
}

func parse(name string) (network, address string) {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "tcp" && u.Scheme != "udp" || u.Hostname() == "" || u.Port() == "" || u.Path != "" {
		return "", ""
	}
	return u.Scheme, u.Host
}

type sink struct {
	network string
	address string
	tls     *tls.Config
	err     error // of the options
	conn    *conn
}

// conn is a connection that knows when its peer is gone, which a writer alone
// learns one lost write later.
type conn struct {
	net.Conn
	gone atomic.Bool
	over chan struct{}
}

func (c *conn) watch() {
	defer close(c.over)
	// Logstash never writes: this returns when either side closes, and why does
	// not matter.
	_, _ = io.Copy(io.Discard, c.Conn)
	c.gone.Store(true)
}

func (s *sink) Append(dst []byte, e *log.Event) []byte {
	begin := len(dst)
	dst = appendEvent(dst, e)
	if s.network == "udp" && len(dst)-begin > maxDatagram {
		return appendEvent(dst[:begin], shorten(e))
	}
	return append(dst, '\n')
}

func appendEvent(dst []byte, e *log.Event) []byte {
	dst = append(dst, `{"@timestamp":"`...)
	dst = time.Unix(0, e.Timestamp).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","@version":"1","level":"`...)
	dst = append(dst, e.Level.String()...)
	dst = append(dst, `","message":`...)
	dst = plugin.AppendQuoted(dst, e.Message)
	dst = append(dst, `,"fields":{`...)
	dst = e.AppendFields(dst)
	return append(dst, `}}`...)
}

// shorten makes an event fit into a datagram even if each byte becomes an escape
// of six.
func shorten(e *log.Event) *log.Event {
	short := &log.Event{Level: e.Level, Timestamp: e.Timestamp, Message: e.Message}
	if limit := maxDatagram/6 - 64; len(short.Message) > limit {
		short.Message = short.Message[:limit] + "…"
	}
	short.Fields = log.Fields{"fields_dropped": fmt.Sprint(len(e.Fields))}
	return short
}

func (s *sink) Open() error { return s.err }

func (s *sink) connect(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	if s.conn != nil && !s.conn.gone.Load() {
		return nil
	}
	s.disconnect()
	dialed, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("log: connect to logstash: %w", err)
	}
	s.conn = &conn{Conn: dialed, over: make(chan struct{})}
	if s.network == "udp" { // refusals are to be seen by Write
		close(s.conn.over)
		return nil
	}
	go s.conn.watch()
	return nil
}

func (s *sink) dial(ctx context.Context) (net.Conn, error) {
	if s.tls != nil && s.network == "tcp" {
		d := tls.Dialer{Config: s.tls}
		return d.DialContext(ctx, s.network, s.address)
	}
	var d net.Dialer
	return d.DialContext(ctx, s.network, s.address)
}

func (s *sink) Write(ctx context.Context, events [][]byte) (int, error) {
	if err := s.connect(ctx); err != nil {
		return 0, err
	}
	deadline, _ := ctx.Deadline() // none is the zero time, which means none
	err := s.conn.SetWriteDeadline(deadline)
	n := 0
	if err == nil {
		n, err = s.send(events)
	}
	if err != nil {
		s.disconnect()
		return n, fmt.Errorf("log: write to logstash: %w", err)
	}
	return n, nil
}

// send returns how many events need not come again.
func (s *sink) send(events [][]byte) (int, error) {
	if s.network == "tcp" {
		lines := make(net.Buffers, len(events))
		copy(lines, events)
		if _, err := lines.WriteTo(s.conn.Conn); err != nil {
			return 0, err
		}
		return len(events), nil
	}
	for i, data := range events {
		if _, err := s.conn.Write(data); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

// disconnect ends the connection, if there is one, and its watcher.
func (s *sink) disconnect() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close() // it is given up, whatever it says
	<-s.conn.over
	s.conn = nil
}

func (s *sink) Close() error {
	s.disconnect()
	return nil
}

func (*sink) String() string { return "logstash" }
