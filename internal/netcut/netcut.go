// Package netcut is a TCP proxy that tests cut: what goes through it stops to
// arrive, as behind a broken link, without a reset that would tell. Healed
// before anybody gives up, the link has only been held. It can also lose a single
// answer, and it counts round trips.
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
	losing int    // so many answers on, one is lost
	asked  bool   // the client spoke last
	rounds int
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

// Lose breaks the connection in the place of the n-th piece that the server sends
// from now on: the server has done what it was asked, and nobody learns of it. 0
// loses nothing.
func (p *Proxy) Lose(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.losing = n
}

// Rounds returns how often the server has answered what a client said since.
func (p *Proxy) Rounds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rounds
}

// ask is told what a client is about to say.
func (p *Proxy) ask(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = true
	if p.word != "" && bytes.Contains(b, []byte(p.word)) {
		p.word, p.healed = "", make(chan struct{})
	}
}

// answer returns false for what is to be lost.
func (p *Proxy) answer() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked {
		p.asked, p.rounds = false, p.rounds+1
	}
	p.losing = max(p.losing-1, -1)
	return p.losing != 0
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
	for to, from := range map[slow]net.Conn{{c, p, true}: s, {s, p, false}: c} {
		p.wg.Go(func() {
			_, _ = io.Copy(to, from) // the end of either is the end of both
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
	proxy    *Proxy
	toClient bool
}

func (s slow) Write(b []byte) (int, error) {
	<-s.proxy.whole()
	if s.toClient && !s.proxy.answer() {
		return 0, net.ErrClosed
	}
	if !s.toClient {
		s.proxy.ask(b)
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
