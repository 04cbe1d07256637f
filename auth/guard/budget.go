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

// limits are in bytes, but for those of streams.
type limits struct {
	all       int64
	account   int64 // an account at all its hosts
	peer      int64 // an account at a host
	conn      int64
	strangers int64 // all callers without a token
	host      int64 // those at one host

	streams streamLimits
}

type streamLimits struct{ account, peer, strangers, host int }

// budgets count what is in flight: of each connection, of each peer, of each
// account, of callers without a token, and of all.
type budgets struct {
	limits
	mu       sync.Mutex
	used     int64
	nobody   pot // of callers without a token
	conns    map[net.Addr]*pot
	peers    map[peerKey]*pot
	accounts map[string]*pot
}

// peerKey is an account at a host: a stranger at the same host, or the same
// account elsewhere, has a budget of its own.
type peerKey struct{ host, account string }

type pot struct {
	used    int64
	calls   int
	streams int
}

func newBudgets(l limits) *budgets {
	return &budgets{limits: l, conns: map[net.Addr]*pot{}, peers: map[peerKey]*pot{}, accounts: map[string]*pot{}}
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
	streams  bool // it is counted as a stream
	conn     *pot
	whose    *pot // the peer's
	account  *pot // at all hosts; of strangers, all of them; nil: nobody is judged
}

// open begins the share of a call with what the call may have sent before it is
// read. It returns false if a budget would be exceeded.
func (s *share) open(b *budgets, at net.Addr, name string, stranger bool, unread int64) bool {
	key := peerKey{HostOf(at), name}
	b.mu.Lock()
	defer b.mu.Unlock()
	*s = share{budgets: b, at: at, peer: key, stranger: stranger, conn: enter(b.conns, at), whose: enter(b.peers, key)}
	if stranger {
		s.account = &b.nobody
	} else if name != "" {
		s.account = enter(b.accounts, name)
	}
	if !s.take(unread) {
		s.drop()
		return false
	}
	s.stream = unread
	return true
}

func enter[K comparable](pots map[K]*pot, key K) *pot {
	p := pots[key]
	if p == nil {
		p = &pot{}
		pots[key] = p
	}
	p.calls++
	return p
}

func exit[K comparable](pots map[K]*pot, key K) {
	p := pots[key]
	if p.calls--; p.calls == 0 {
		delete(pots, key)
	}
}

// take needs the lock.
func (s *share) take(n int64) bool {
	b := s.budgets
	whose, account := b.peer, b.limits.account
	if s.stranger {
		whose, account = b.host, b.strangers
	}
	if b.used+n > b.all || s.conn.used+n > b.conn || s.whose.used+n > whose || s.account != nil && s.account.used+n > account {
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
	if s.account != nil {
		s.account.used -= n
	}
}

// drop needs the lock.
func (s *share) drop() {
	s.give(s.stream + s.message)
	if s.streams {
		s.count(-1)
	}
	exit(s.budgets.conns, s.at)
	exit(s.budgets.peers, s.peer)
	if s.account != nil && !s.stranger {
		exit(s.budgets.accounts, s.peer.account)
	}
	s.closed = true
}

// count needs the lock.
func (s *share) count(n int) {
	s.whose.streams += n
	if s.account != nil {
		s.account.streams += n
	}
}

// streaming notes that the call is a stream. It returns false if there are too
// many. What a stranger may send on it unread is taken for as long as it lasts.
func (s *share) streaming() bool {
	b := s.budgets
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.streams { // it was noted by another wrapper of the same guard
		return true
	}
	whose, account := b.limits.streams.peer, b.limits.streams.account
	if s.stranger {
		whose, account = b.limits.streams.host, b.limits.streams.strangers
	}
	if s.closed || s.whose.streams >= whose || s.account != nil && s.account.streams >= account {
		return false
	}
	if s.stranger && s.stream < streamWindow {
		if !s.take(streamWindow - s.stream) {
			return false
		}
		s.stream = streamWindow
	}
	s.streams = true
	s.count(1)
	return true
}

// read takes the bytes of a message in place of those of the message before. It
// returns false if a budget would be exceeded.
func (s *share) read(n int64) bool { return s.reads(n, false) }

// more takes further bytes of a message.
func (s *share) more(n int64) bool { return s.reads(n, true) }

func (s *share) reads(n int64, more bool) bool {
	b := s.budgets
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed {
		return false
	}
	if !more {
		s.give(s.message)
		s.message = 0
	}
	if !s.take(n) {
		return false
	}
	s.message += n
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
	if s.closed || s.stranger || s.stream <= idleStream {
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
