// Package guardtest floods a grpc server as an attacker would, for tests of its
// bounds.
package guardtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Attack says what one connection does: it opens streams, announces a message of
// Size bytes on each and sends all of it but the last byte.
type Attack struct {
	Address string // host:port, without TLS
	Local   string // the address to come from; "": any
	Path    string // "/package.Handler/Method"
	Token   string // "": none
	Streams int
	Size    int
}

// Holder is an attack under way. Its methods are safe for concurrent use.
type Holder struct {
	conn net.Conn
	done chan struct{}

	mu      sync.Mutex // of what follows, and of writing
	changed *sync.Cond
	framer  *http2.Framer
	window  int64 // of the connection
	initial int64
	streams map[uint32]*held
	ended   error
	sent    int64
	answers map[string]int
}

type held struct {
	window int64
	left   int
	over   bool
}

// Hold begins an attack, which lasts until Close or until the server ends it.
func Hold(a Attack) (*Holder, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if a.Local != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(a.Local)}
	}
	c, err := d.Dial("tcp", a.Address)
	if err != nil {
		return nil, err
	}
	h := &Holder{conn: c, done: make(chan struct{}), framer: http2.NewFramer(c, c), window: 65535, initial: 65535,
		streams: map[uint32]*held{}, answers: map[string]int{}}
	h.changed = sync.NewCond(&h.mu)
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := h.begin(a); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	go func() { defer close(h.done); h.read() }()
	go h.write(a)
	return h, nil
}

func (h *Holder) begin(a Attack) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := io.WriteString(h.conn, http2.ClientPreface); err != nil {
		return err
	}
	if err := h.framer.WriteSettings(); err != nil {
		return err
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range a.Streams {
		block.Reset()
		fields := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", a.Path}, {":authority", a.Address}, {"content-type", "application/grpc+proto"}, {"te", "trailers"}}
		if a.Token != "" {
			fields = append(fields, [2]string{"authorization", "Bearer " + a.Token})
		}
		for _, f := range fields {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a buffer takes everything
		}
		id := uint32(2*i + 1)
		h.streams[id] = &held{window: h.initial, left: 5 + a.Size - 1}
		if err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
	}
	return nil
}

func (h *Holder) write(a Attack) {
	chunk := make([]byte, 16<<10)
	head := make([]byte, 5)
	binary.BigEndian.PutUint32(head[1:], uint32(a.Size))
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.ended == nil {
		wrote := false
		for id, s := range h.streams {
			n := min(len(chunk), s.left, int(min(s.window, h.window)))
			if s.over || n < 5 && n < s.left {
				continue
			}
			part := chunk[:n]
			if s.left == 5+a.Size-1 {
				part = append(append([]byte(nil), head...), chunk[:n-5]...)
			}
			if n == 0 {
				continue
			}
			s.left, s.window, h.window, h.sent = s.left-n, s.window-int64(n), h.window-int64(n), h.sent+int64(n)
			if err := h.framer.WriteData(id, false, part); err != nil {
				h.end(err)
				return
			}
			wrote = true
		}
		if !wrote {
			h.changed.Wait()
		} else {
			h.mu.Unlock() // the reader may have news
			h.mu.Lock()
		}
	}
}

// end needs the lock.
func (h *Holder) end(err error) {
	if h.ended == nil {
		h.ended = err
	}
	h.changed.Broadcast()
}

func (h *Holder) read() {
	for {
		f, err := h.framer.ReadFrame()
		h.mu.Lock()
		if err != nil {
			h.end(err)
			h.mu.Unlock()
			return
		}
		h.take(f)
		h.changed.Broadcast()
		h.mu.Unlock()
	}
}

// take needs the lock.
func (h *Holder) take(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			for _, s := range h.streams {
				s.window += int64(v) - h.initial
			}
			h.initial = int64(v)
		}
		if err := h.framer.WriteSettingsAck(); err != nil {
			h.end(err)
		}
	case *http2.PingFrame:
		if err := h.framer.WritePing(true, f.Data); err != nil {
			h.end(err)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			h.window += int64(f.Increment)
		} else if s := h.streams[f.StreamID]; s != nil {
			s.window += int64(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		for _, field := range f.Fields {
			if field.Name == "grpc-status" {
				h.answers[field.Value]++
				h.streams[f.StreamID].over = true
			}
		}
	case *http2.RSTStreamFrame:
		if s := h.streams[f.StreamID]; s != nil {
			s.over = true
		}
	}
}

// Sent returns how many bytes of messages the server took.
func (h *Holder) Sent() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// Answers returns how many streams were ended with a grpc status, by the
// status's number.
func (h *Holder) Answers() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]int, len(h.answers))
	for k, v := range h.answers {
		all[k] = v
	}
	return all
}

// Settled reports whether nothing is left to do: each stream was ended by the
// server, or holds back its last byte, or the connection is gone.
func (h *Holder) Settled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended != nil {
		return true
	}
	for _, s := range h.streams {
		if !s.over && s.left > 0 {
			return false
		}
	}
	return true
}

// Close ends the attack.
func (h *Holder) Close() {
	_ = h.conn.Close() // what it was for is over
	<-h.done
}
