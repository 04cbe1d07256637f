package guard

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// A handler may end while another goroutine still receives: what the call had is
// given back once, and what comes after that takes nothing.
func TestAShareIsClosedWhileItIsRead(t *testing.T) {
	b := newBudgets(limits{all: 1 << 20, account: 1 << 20, peer: 1 << 20, conn: 1 << 20})
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for range 500 {
		var s share
		if !s.open(b, at, "shop", false, streamWindow) {
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
	if b.used != 0 || len(b.conns) != 0 || len(b.peers)+len(b.accounts) != 0 {
		t.Errorf("%d bytes, %d connections and %d peers are left", b.used, len(b.conns), len(b.peers))
	}
}

func host(n, port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, byte(n)), Port: port} }

// fill opens shares until one is refused, at most many.
func fill(b *budgets, at func(i int) net.Addr, name string, stranger bool, unread int64) (held int64) {
	for i := range 100_000 {
		var s share
		if !s.open(b, at(i), name, stranger, unread) {
			break
		}
		held += unread
	}
	return held
}

// Nobody takes what others need: not one host of strangers what all strangers
// have, nor one account with many hosts what all accounts have.
func TestNobodyTakesAll(t *testing.T) {
	o := newOptions([]Option{InFlight(1 << 30), MaxMessage(1 << 20)})
	all, one := o.limits.all, host(1, 1)
	for name, c := range map[string]struct {
		at       func(i int) net.Addr
		account  string
		stranger bool
		most     int64
	}{
		"a host of strangers":             {func(i int) net.Addr { return host(1, i) }, "", true, all / 4 / 8},
		"strangers at many hosts":         {func(i int) net.Addr { return host(i%200, i) }, "", true, all / 4},
		"an account at a host":            {func(i int) net.Addr { return host(1, i) }, "low", false, all / 4},
		"an account at many hosts":        {func(i int) net.Addr { return host(i%200, i) }, "low", false, all / 2},
		"a connection":                    {func(int) net.Addr { return one }, "low", false, all / 8},
		"nobody is judged, at many hosts": {func(i int) net.Addr { return host(i%200, i) }, "", false, all},
	} {
		b := newBudgets(o.limits)
		held := fill(b, c.at, c.account, c.stranger, streamWindow)
		if held > c.most || held < c.most-streamWindow {
			t.Errorf("%s: took %d MB, want %d", name, held>>20, c.most>>20)
		}
		var s share
		if c.most < all && !s.open(b, host(250, 1), "other", false, 1<<20) {
			t.Errorf("%s: nothing is left for another account", name)
		}
		if c.stranger && c.most < all/4 && !s.open(b, host(251, 1), "", true, 64<<10) {
			t.Errorf("%s: nothing is left for other strangers", name)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	o := newOptions([]Option{InFlight(1 << 34), MaxStreams(80)})
	for name, c := range map[string]struct {
		at       func(i int) net.Addr
		account  func(i int) string
		stranger bool
		most     int
	}{
		"an account at a host":     {func(i int) net.Addr { return host(1, i) }, func(int) string { return "low" }, false, 80},
		"an account at many hosts": {func(i int) net.Addr { return host(i%200, i) }, func(int) string { return "low" }, false, 160},
		"accounts of one host":     {func(i int) net.Addr { return host(1, i) }, func(i int) string { return fmt.Sprint(i % 3) }, false, 240},
		"strangers at a host":      {func(i int) net.Addr { return host(1, i) }, func(int) string { return "" }, true, 10},
		"strangers at many hosts":  {func(i int) net.Addr { return host(i%200, i) }, func(int) string { return "" }, true, 80},
	} {
		b := newBudgets(o.limits)
		open := []*share{}
		for i := range 1000 {
			s := &share{}
			if !s.open(b, c.at(i), c.account(i), c.stranger, idleStream) {
				t.Fatalf("%s: no room for the call", name)
			}
			if s.streaming() {
				open = append(open, s)
			} else {
				s.close()
			}
		}
		if len(open) != c.most {
			t.Errorf("%s: %d streams, want %d", name, len(open), c.most)
		}
		for _, s := range open {
			s.close()
		}
		if b.used != 0 || len(b.peers)+len(b.accounts) != 0 || b.nobody.streams != 0 {
			t.Errorf("%s: something is left: %+v", name, b)
		}
	}
}

// A call that begins while another ends finds its connection at work, and the
// last of all leaves it idle.
func TestBeginsAndEndsAtOnce(t *testing.T) {
	c := NewConnecting(8, 8, nil)
	left, right := net.Pipe()
	defer func() { _ = right.Close() }() // the test is over
	nc := c.admit(left).(*conn)
	for range 2000 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				began(nc.at)
				over(nc.at)
			})
		}
		all.Wait()
		if c.conns.idle.Len() != 1 || c.conns.working != 0 || nc.whose.working != 0 || nc.whose.idle.Len() != 1 {
			t.Fatalf("%d idle, %d at work", c.conns.idle.Len(), c.conns.working)
		}
		began(nc.at)
		if c.conns.working != 1 || c.conns.idle.Len() != 0 {
			t.Fatal("a connection with a call is not at work")
		}
		over(nc.at)
	}
	if err := nc.Close(); err != nil || len(c.hosts) != 0 {
		t.Errorf("%v, %d hosts are left", err, len(c.hosts))
	}
}
