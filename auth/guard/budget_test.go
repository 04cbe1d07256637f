package guard

import (
	"net"
	"sync"
	"testing"
)

// A handler may end while another goroutine still receives: what the call had is
// given back once, and what comes after that takes nothing.
func TestAShareIsClosedWhileItIsRead(t *testing.T) {
	b := newBudgets(limits{all: 1 << 20, peer: 1 << 20, conn: 1 << 20, strangers: 1 << 20})
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for range 500 {
		var s share
		if !s.open(b, at, "shop", false) {
			t.Fatal("no room")
		}
		var both sync.WaitGroup
		both.Go(func() {
			s.settled()
			s.read(100)
			s.read(200)
		})
		both.Go(s.close)
		both.Wait()
		s.close()
		if s.read(1) {
			t.Fatal("what was closed takes more")
		}
	}
	if b.used != 0 || len(b.conns) != 0 || len(b.peers) != 0 {
		t.Errorf("%d bytes, %d connections and %d peers are left", b.used, len(b.conns), len(b.peers))
	}
}
