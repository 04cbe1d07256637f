package memcached

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

const maxIdle = 64 // sessions, each with one connection to a server at most

// sessions gives each call a client of its own while it lasts: gomemcache knows
// no contexts, but what only one call uses can be cut off when its context ends.
// So no call goes on behind the back of its caller.
type sessions struct {
	servers servers
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex
	idle   []*session
	closed bool
}

// session is one client and its connections.
type session struct {
	client *memcache.Client

	mu    sync.Mutex
	ctx   context.Context // of the call under way
	conns map[*conn]struct{}
}

// conn leaves its session when gomemcache closes it.
type conn struct {
	net.Conn
	session *session
}

func (c *conn) Close() error {
	c.session.mu.Lock()
	delete(c.session.conns, c)
	c.session.mu.Unlock()
	return c.Conn.Close()
}

// do calls f with a client that fails once ctx has ended.
func (s *sessions) do(ctx context.Context, f func(c *memcache.Client) error) error {
	one := s.take(ctx)
	stop := context.AfterFunc(ctx, one.cut)
	err := f(one.client)
	if stop() {
		s.put(one)
	}
	return err
}

func (s *sessions) take(ctx context.Context) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var one *session
	if last := len(s.idle) - 1; last >= 0 {
		one, s.idle = s.idle[last], s.idle[:last]
	} else {
		one = s.open()
	}
	one.begin(ctx)
	return one
}

func (s *sessions) open() *session {
	one := &session{client: memcache.NewFromSelector(s.servers), conns: make(map[*conn]struct{})}
	one.client.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		c, err := s.dial(one.now(), network, address)
		if err != nil {
			return nil, err
		}
		return one.keep(c)
	}
	return one
}

func (s *sessions) put(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) >= maxIdle {
		one.cut()
		return
	}
	s.idle = append(s.idle, one)
}

// close leaves calls under way to their contexts.
func (s *sessions) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, one := range s.idle {
		one.cut()
	}
	s.idle = nil
	return nil
}

// begin makes the context, which has a deadline, that of all that follows.
// gomemcache's own limit only comes after it: whose fault it was can be told then.
func (s *session) begin(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, _ := ctx.Deadline() // Remote.Do sees to it
	s.ctx, s.client.Timeout = ctx, max(time.Until(end), 0)+time.Second
}

func (s *session) now() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

// keep also cuts what was dialled while the context ended.
func (s *session) keep(c net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ctx.Err(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	kept := &conn{c, s}
	s.conns[kept] = struct{}{}
	return kept, nil
}

func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Conn.Close() // nothing is expected of it any more
	}
	clear(s.conns)
}
