package guard

import (
	"net"
	"sync"
)

// streamWindow is what a client may send on a stream that nobody reads, the
// least that grpc offers. It is taken from the budgets until the first message
// of a stream was read; what a stream takes after that is idleStream.
const (
	streamWindow = 64 << 10
	idleStream   = 4 << 10
)

// connWindow is what a client may send on a connection before the server has
// seen it.
const connWindow = 16 << 20

// limits are in bytes.
type limits struct{ all, peer, conn, strangers int64 }

// budgets count what is in flight: of each connection, of each peer, of callers
// without a token, and of all.
type budgets struct {
	limits
	mu     sync.Mutex
	used   int64
	nobody int64 // of callers without a token
	conns  map[net.Addr]*account
	peers  map[peerKey]*account
}

// peerKey is an account at a host: a stranger at the same host, or the same
// account elsewhere, has a budget of its own.
type peerKey struct{ host, account string }

type account struct {
	used  int64
	calls int
}

func newBudgets(l limits) *budgets {
	return &budgets{limits: l, conns: map[net.Addr]*account{}, peers: map[peerKey]*account{}}
}

// share is the part of the budgets that one call holds. Its methods may be
// called by several goroutines. A closed share takes nothing more.
type share struct {
	budgets  *budgets // nil: not opened
	closed   bool     // guarded by the budgets' lock
	at       net.Addr
	peer     peerKey
	stranger bool
	stream   int64 // for the stream itself
	message  int64
	conn     *account
	whose    *account
}

// open begins the share of a call. It returns false if a budget would be
// exceeded.
func (s *share) open(b *budgets, at net.Addr, name string, stranger bool) bool {
	key := peerKey{HostOf(at), name}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns[at] == nil {
		b.conns[at] = &account{}
	}
	if b.peers[key] == nil {
		b.peers[key] = &account{}
	}
	*s = share{budgets: b, at: at, peer: key, stranger: stranger, conn: b.conns[at], whose: b.peers[key]}
	s.conn.calls++
	s.whose.calls++
	if !s.take(streamWindow) {
		s.drop()
		return false
	}
	s.stream = streamWindow
	return true
}

// take needs the lock.
func (s *share) take(n int64) bool {
	b := s.budgets
	if b.used+n > b.all || s.conn.used+n > b.conn || s.whose.used+n > b.peer || s.stranger && b.nobody+n > b.strangers {
		return false
	}
	s.give(-n)
	return true
}

// give needs the lock.
func (s *share) give(n int64) {
	s.budgets.used -= n
	s.conn.used -= n
	s.whose.used -= n
	if s.stranger {
		s.budgets.nobody -= n
	}
}

// drop needs the lock.
func (s *share) drop() {
	s.give(s.stream + s.message)
	if s.conn.calls--; s.conn.calls == 0 {
		delete(s.budgets.conns, s.at)
	}
	if s.whose.calls--; s.whose.calls == 0 {
		delete(s.budgets.peers, s.peer)
	}
	s.closed = true
}

// read takes the bytes of a message in place of those of the message before. It
// returns false if a budget would be exceeded.
func (s *share) read(n int64) bool {
	b := s.budgets
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed {
		return false
	}
	s.give(s.message)
	s.message = 0
	if !s.take(n) {
		return false
	}
	s.message = n
	return true
}

// settled notes that the first message was read.
func (s *share) settled() {
	b := s.budgets
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed || s.stream == idleStream {
		return
	}
	s.give(s.stream - idleStream)
	s.stream = idleStream
}

// close gives back all that the share holds.
func (s *share) close() {
	b := s.budgets
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !s.closed {
		s.drop()
	}
}

// HostOf returns the host behind an address: its IP, of IPv6 the network of 64
// bits, all of whose addresses one host may have.
func HostOf(at net.Addr) string {
	if at == nil {
		return ""
	}
	var ip net.IP
	switch a := at.(type) {
	case *net.TCPAddr:
		ip = a.IP
	case *address:
		return a.host
	default:
		host, _, err := net.SplitHostPort(at.String())
		if err != nil {
			return at.String()
		}
		if ip = net.ParseIP(host); ip == nil {
			return host
		}
	}
	if ip.To4() == nil {
		ip = ip.Mask(net.CIDRMask(64, 128))
	}
	return ip.String()
}
