// Package netcut is a TCP proxy that tests cut: what goes through it stops to
// arrive, as behind a broken link, without a reset that would tell. Healed
// before anybody gives up, the link has only been held.
package netcut

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy forwards to one server until it is cut.
type Proxy struct {
	// Addr is where to connect to instead of the server.
	Addr string

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	closed bool
	healed chan struct{} // closed while the link works
	conns  map[net.Conn]struct{}
	word   string // that a client says before the link is cut
}

// New returns a working link to target, closed when the test ends.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listener: l, healed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(p.healed)
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Cut makes the link lose everything, also what connects from now on.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.healed = make(chan struct{})
}

// CutAfter cuts the link when a client has sent the word, in one piece.
func (p *Proxy) CutAfter(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word = word
}

// heard cuts the link when what a client sends is the word.
func (p *Proxy) heard(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.word != "" && bytes.Contains(b, []byte(p.word)) {
		p.word, p.healed = "", make(chan struct{})
	}
}

// Heal makes it work again. What was on its way arrives late; connections that
// gave up do not come back.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heal()
}

func (p *Proxy) heal() {
	select {
	case <-p.healed:
	default:
		close(p.healed)
	}
}

func (p *Proxy) whole() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.healed
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(c) {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close() // nothing was written
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) serve(c net.Conn) {
	defer p.drop(c)
	<-p.whole()
	s, err := net.Dial("tcp", p.target)
	if err != nil || !p.keep(s) {
		return
	}
	defer p.drop(s)
	done := make(chan struct{}, 2)
	for _, way := range []struct {
		to, from net.Conn
		hear     func([]byte)
	}{{c, s, nil}, {s, c, p.heard}} {
		p.wg.Go(func() {
			_, _ = io.Copy(slow{way.to, p, way.hear}, way.from) // the end of either is the end of both
			done <- struct{}{}
		})
	}
	<-done
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // the other side knows or does not matter
}

// slow writes when the link is whole.
type slow struct {
	net.Conn
	proxy *Proxy
	hear  func([]byte) // of what is about to arrive, if not nil
}

func (s slow) Write(b []byte) (int, error) {
	<-s.proxy.whole()
	if s.hear != nil {
		s.hear(b)
	}
	return s.Conn.Write(b)
}

// ReadFrom keeps io.Copy from passing Write by.
func (s slow) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.heal()
	_ = p.listener.Close() // it is given up
	for c := range p.conns {
		_ = c.Close() // as above
	}
	p.mu.Unlock()
	p.wg.Wait()
}
