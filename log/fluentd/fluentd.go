// Package fluentd is the output to Fluentd, Fluent Bit and everything else that
// speaks the Forward protocol, with acknowledgements.
//
// A batch of events is one PackedForward message with a chunk id; it is repeated
// under the same id until the server has acknowledged it, so that events arrive
// at least once and a server that knows chunks can tell repetitions. The record
// of an event is {"level": "info", "message": "started", "fields": {"id": "7"}}
// and its time an EventTime, with nanoseconds.
//
// Specification: Forward Protocol v1,
// https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1
package fluentd

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/log"
	"github.com/tinylib/msgp/msgp"
)

// DefaultAddress is where NewOutput sends without log.OutputName.
const DefaultAddress = "tcp://127.0.0.1:24224"

// DefaultTag is the tag of events without Tag.
const DefaultTag = "micro.log"

type tagKey struct{}

type tlsKey struct{}

// Tag sets the tag by which the server routes the events; the default is
// DefaultTag.
func Tag(tag string) log.OutputOption {
	return func(o *log.OutputOptions) { o.Context = context.WithValue(o.Context, tagKey{}, tag) }
}

// TLS sets how to encrypt the connection; the default is plain text.
func TLS(conf *tls.Config) log.OutputOption {
	return func(o *log.OutputOptions) { o.Context = context.WithValue(o.Context, tlsKey{}, conf) }
}

// NewOutput returns an output to the address of log.OutputName,
// "tcp://host:port" or "unix:///path". The server must acknowledge (require_ack_response;
// all current ones do) within log.OutputTimeout.
func NewOutput(opts ...log.OutputOption) log.Output {
	o := log.NewOutputOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultAddress
	}
	s := &sink{tag: DefaultTag}
	if tag, ok := o.Context.Value(tagKey{}).(string); ok {
		s.tag = tag
	}
	c := option.Of("log")
	s.network, s.address = parse(o.Name)
	c.That(s.address != "", "OutputName", "%q is not tcp://host:port or unix:///path", o.Name)
	c.That(s.tag != "", "Tag", "it is empty")
	s.err = c.Err()
	s.tls, _ = o.Context.Value(tlsKey{}).(*tls.Config)
	return log.NewBuffer(s, o)
}

func parse(name string) (network, address string) {
	u, err := url.Parse(name)
	switch {
	case err != nil:
	case u.Scheme == "tcp" && u.Hostname() != "" && u.Port() != "" && u.Path == "":
		return u.Scheme, u.Host
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return u.Scheme, u.Path
	}
	return "", ""
}

type sink struct {
	network string
	address string
	tag     string
	tls     *tls.Config
	err     error // of the options
	conn    net.Conn
	chunk   string // id of the batch in flight
	entries []byte
	message []byte
}

// Append appends an entry: [EventTime, record].
func (s *sink) Append(dst []byte, e *log.Event) []byte {
	dst = msgp.AppendArrayHeader(dst, 2)
	dst = appendTime(dst, e.Timestamp)
	dst = msgp.AppendMapHeader(dst, 3)
	dst = appendText(dst, "level")
	dst = appendText(dst, e.Level.String())
	dst = appendText(dst, "message")
	dst = appendText(dst, e.Message)
	dst = appendText(dst, "fields")
	dst = msgp.AppendMapHeader(dst, uint32(len(e.Fields)))
	for k, v := range e.Fields {
		dst = appendText(dst, k)
		dst = appendText(dst, v)
	}
	return dst
}

// appendTime appends an EventTime: extension type 0 of two big-endian uint32,
// seconds and nanoseconds.
func appendTime(dst []byte, unix int64) []byte {
	const second = 1_000_000_000
	dst = append(dst, 0xd7, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(unix/second))
	return binary.BigEndian.AppendUint32(dst, uint32(unix%second))
}

// appendText appends a string, which MessagePack wants in UTF-8.
func appendText(dst []byte, s string) []byte {
	return msgp.AppendString(dst, strings.ToValidUTF8(s, "\uFFFD"))
}

func (s *sink) Open() error { return s.err }

// Write sends the events as one chunk and waits until it is acknowledged.
func (s *sink) Write(ctx context.Context, events [][]byte) (int, error) {
	err := s.connect(ctx)
	if err == nil {
		err = s.forward(ctx, events)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("log: forward to fluentd: %w", err), s.Close())
	}
	s.chunk = ""
	return len(events), nil
}

func (s *sink) connect(ctx context.Context) (err error) {
	if s.err != nil || s.conn != nil {
		return s.err
	}
	if s.tls != nil {
		d := tls.Dialer{Config: s.tls}
		s.conn, err = d.DialContext(ctx, s.network, s.address)
		return err
	}
	var d net.Dialer
	s.conn, err = d.DialContext(ctx, s.network, s.address)
	return err
}

func (s *sink) forward(ctx context.Context, events [][]byte) error {
	if s.chunk == "" {
		s.chunk = rand.Text()
	}
	deadline, _ := ctx.Deadline() // none is the zero time, which means none
	if err := s.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.conn.Write(s.pack(events)); err != nil {
		return err
	}
	return s.acknowledged()
}

// pack makes a PackedForward message: [tag, entries, option].
func (s *sink) pack(events [][]byte) []byte {
	s.entries = s.entries[:0]
	for _, entry := range events {
		s.entries = append(s.entries, entry...)
	}
	m := msgp.AppendArrayHeader(s.message[:0], 3)
	m = appendText(m, s.tag)
	m = msgp.AppendBytes(m, s.entries)
	m = msgp.AppendMapHeader(m, 2)
	m = appendText(m, "chunk")
	m = appendText(m, s.chunk)
	m = appendText(m, "size")
	m = msgp.AppendInt(m, len(events))
	s.message = m
	return m
}

// acknowledged reads {"ack": chunk}. There is one encoding of it, so nothing the
// server says has to be parsed.
func (s *sink) acknowledged() error {
	want := msgp.AppendMapHeader(nil, 1)
	want = appendText(want, "ack")
	want = appendText(want, s.chunk)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.conn, got); err != nil {
		return fmt.Errorf("no acknowledgement: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("acknowledged something else: %.60q", got)
	}
	return nil
}

func (s *sink) Close() error {
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}

func (*sink) String() string { return "fluentd" }
