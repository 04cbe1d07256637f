package statsd

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

type dialFunc = func(ctx context.Context, addr string) (net.Conn, error)

func dialUDP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp", addr)
}

// sender owns the socket to one collector, so that the look-up of one name
// delays no other.
type sender struct {
	client *Client
	addr   string
	queue  chan []Packet

	conn     net.Conn
	resolved time.Time
	last     int // values in the datagram sent last
}

// run sends batches until the queue is closed. What is under way when ctx ends
// may go on for lifecycle.FlushTimeout.
func (s *sender) run(ctx context.Context) {
	sending, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(lifecycle.FlushTimeout, cancel)
		context.AfterFunc(sending, func() { timer.Stop() })
	})
	defer stop()
	defer s.close()
	for batch := range s.queue {
		for i, p := range batch {
			if !s.send(sending, p) {
				s.client.lost.Add(lines(batch[i+1:]))
				break
			}
		}
	}
}

// send writes one datagram, over a new socket if the old one fails. It returns
// false when the collector has no address for now.
func (s *sender) send(ctx context.Context, p Packet) bool {
	for range 2 {
		if err := s.dial(ctx); err != nil {
			s.client.lost.Add(p.Lines)
			return false
		}
		err := s.write(p)
		if err == nil {
			s.last = p.Lines
			return true
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			s.client.lost.Add(s.last) // the error tells of the datagram before
		}
		s.close()
	}
	s.client.lost.Add(p.Lines)
	return true
}

func (s *sender) write(p Packet) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err := s.conn.Write(p.Data)
	return err
}

// dial connects, which resolves the address, unless a young connection exists.
// When the look-up fails an old connection serves on.
func (s *sender) dial(ctx context.Context) error {
	if s.conn != nil && time.Since(s.resolved) < s.client.conf.Resolve {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := s.client.conf.Dial(ctx, s.addr)
	if err != nil {
		if s.conn != nil {
			s.resolved = time.Now()
			return nil
		}
		return err
	}
	s.close()
	s.conn, s.resolved = conn, time.Now()
	return nil
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close() // a UDP socket: nothing is buffered
	}
	s.conn, s.last = nil, 0
}
