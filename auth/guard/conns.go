package guard

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Connecting bounds the connections of each host and those of all hosts
// together. A quarter of either bound may be idle before their first call with
// a good token, and a quarter of a host's bound is what an account may have there
// without a call. When there are too many, one that is idle is closed for the
// newest: the oldest of those that never had such a call, else one that has had
// no call for long. So a client that opens a thousand and leaves them shuts
// nobody out, not even another caller at the same host. Connections at work are
// never closed: once they alone reach the bound, a new one is closed.
type Connecting struct {
	host, all int
	closed    func() // called for each that is closed; may be nil
	mu        sync.Mutex
	conns     group
	hosts     map[string]*group
	accounts  map[peerKey]*list.List // of the known connections
}

// group is the connections of a host, or all.
type group struct {
	idle    list.List // of *conn that are not known and have no call, the oldest first
	known   list.List // of *conn that had a call with a good token
	working int       // the others
}

func (g *group) len() int { return g.idle.Len() + g.known.Len() + g.working }

// NewConnecting returns a Connecting with bounds for the connections of one
// host and of all. The function, which may be nil, is called for each
// connection that a bound closes.
func NewConnecting(host, all int, closed func()) *Connecting {
	return &Connecting{host: host, all: all, closed: closed, hosts: map[string]*group{}, accounts: map[peerKey]*list.List{}}
}

// Listener returns a listener that bounds what l accepts. On a grpc server with
// a Guard a connection is at work while it has calls. On an HTTP server State
// decides.
func (c *Connecting) Listener(l net.Listener) net.Listener { return &listener{l, c} }

// State is for the ConnState of an http.Server, with or without TLS.
func (c *Connecting) State(nc net.Conn, s http.ConnState) {
	for {
		switch at := nc.(type) {
		case *conn:
			at.state(s)
			return
		case interface{ NetConn() net.Conn }: // a tls.Conn
			nc = at.NetConn()
		default:
			return
		}
	}
}

type listener struct {
	net.Listener
	of *Connecting
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.of.admit(c), nil
}

// conn is a connection that is counted.
type conn struct {
	net.Conn
	of    *Connecting
	at    *address
	whose *group
	calls atomic.Int64
	known atomic.Bool // its first call with a good token was made; the lock guards its change
	used  atomic.Bool // since it was looked at last

	// Below are what the lock of Connecting guards.
	inAll, inHost *list.Element // of the idle ones, or of the known ones
	account       peerKey       // of the first call with a good token
	inAccount     *list.Element
	working       bool
	gone          bool
}

// address is how a guard finds the connection of a call.
type address struct {
	net.Addr
	host string
	conn *conn
}

func (c *conn) RemoteAddr() net.Addr { return c.at }

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.mu.Lock()
	c.leave()
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// began notes that a call was let in.
func began(at net.Addr) {
	if a, ok := at.(*address); ok && a.conn.calls.Add(1) == 1 && !a.conn.known.Load() {
		a.conn.update()
	}
}

// over notes that a call has ended.
func over(at net.Addr) {
	a, ok := at.(*address)
	if !ok || a.conn.calls.Add(-1) > 0 {
		return
	}
	if a.conn.known.Load() {
		a.conn.used.Store(true)
	} else {
		a.conn.update()
	}
}

// know notes that a call was let in with a good token of the account.
func know(at net.Addr, account string) {
	if a, ok := at.(*address); ok && !a.conn.known.Load() {
		a.conn.of.close(a.conn.know(account))
	}
}

func (c *conn) state(s http.ConnState) {
	switch s {
	case http.StateActive:
		c.calls.Store(1)
	case http.StateIdle:
		c.calls.Store(0)
	default:
		return
	}
	c.update()
}

func (c *Connecting) admit(nc net.Conn) net.Conn {
	at := &address{Addr: nc.RemoteAddr(), host: HostOf(nc.RemoteAddr())}
	made := &conn{Conn: nc, of: c, at: at}
	at.conn = made
	c.mu.Lock()
	made.whose = c.hosts[at.host]
	if made.whose == nil {
		made.whose = &group{}
		c.hosts[at.host] = made.whose
	}
	made.rest()
	spare := c.spare(made)
	if spare != nil {
		spare.leave()
	}
	c.mu.Unlock()
	c.close(spare)
	return made
}

// close ends the connection of a conn that has left, if there is one.
func (c *Connecting) close(spare *conn) {
	if spare == nil {
		return
	}
	_ = spare.Conn.Close() // nobody is left to be told
	if c.closed != nil {
		c.closed()
	}
}

// spare returns the connection that a new one is one too many for. It needs the
// lock.
func (c *Connecting) spare(made *conn) *conn {
	for _, one := range []struct {
		of   *group
		most int
	}{{made.whose, c.host}, {&c.conns, c.all}} {
		oldest := one.of.idle.Front().Value.(*conn)
		if one.of.idle.Len() > quarter(one.most) {
			return oldest
		}
		if one.of.len() <= one.most {
			continue
		}
		if oldest != made {
			return oldest
		}
		if tired := tired(&one.of.known); tired != nil {
			return tired
		}
		return made
	}
	return nil
}

func quarter(most int) int { return (most + 3) / 4 }

// maxLooks bounds the connections that are looked at for one that is tired.
const maxLooks = 64

// tired returns a connection without a call, and none since it was looked at
// last: the algorithm of the second chance, also known as CLOCK. It returns nil
// if those that it looks at are all at work.
func tired(l *list.List) *conn {
	for range 2 * min(l.Len(), maxLooks) {
		e := l.Front()
		if one := e.Value.(*conn); one.calls.Load() == 0 && !one.used.Swap(false) {
			return one
		}
		l.MoveToBack(e)
	}
	return nil
}

// know makes c a connection of the account. It returns another that the account
// has left in excess, if there is one.
func (c *conn) know(account string) (spare *conn) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.gone || c.known.Load() {
		return nil
	}
	c.known.Store(true)
	if c.working {
		c.working = false
		c.of.conns.working--
		c.whose.working--
	} else {
		c.wake()
	}
	c.inAll, c.inHost = c.of.conns.known.PushBack(c), c.whose.known.PushBack(c)
	c.account = peerKey{c.at.host, account}
	all := c.of.accounts[c.account]
	if all == nil {
		all = &list.List{}
		c.of.accounts[c.account] = all
	}
	c.inAccount = all.PushBack(c)
	if idle(all) <= quarter(c.of.host) {
		return nil
	}
	if spare = tired(all); spare != nil {
		spare.leave()
	}
	return spare
}

// idle returns how many connections have no call.
func idle(l *list.List) (n int) {
	for e := l.Front(); e != nil; e = e.Next() {
		if e.Value.(*conn).calls.Load() == 0 {
			n++
		}
	}
	return n
}

// rest makes c the youngest idle one. It needs the lock.
func (c *conn) rest() {
	c.inAll, c.inHost = c.of.conns.idle.PushBack(c), c.whose.idle.PushBack(c)
}

// wake takes c from the idle ones. It needs the lock.
func (c *conn) wake() {
	if c.inAll != nil {
		c.of.conns.idle.Remove(c.inAll)
		c.whose.idle.Remove(c.inHost)
		c.inAll, c.inHost = nil, nil
	}
}

// leave needs the lock.
func (c *conn) leave() {
	if c.gone {
		return
	}
	c.gone = true
	switch {
	case c.known.Load():
		c.of.conns.known.Remove(c.inAll)
		c.whose.known.Remove(c.inHost)
		all := c.of.accounts[c.account]
		if all.Remove(c.inAccount); all.Len() == 0 {
			delete(c.of.accounts, c.account)
		}
	case c.working:
		c.of.conns.working--
		c.whose.working--
	default:
		c.wake()
	}
	if c.whose.len() == 0 {
		delete(c.of.hosts, c.at.host)
	}
}

// update makes c idle or working, by the calls that it has now: whoever changes
// their number calls it afterwards, so that the last one sees the last number.
func (c *conn) update() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	busy := c.calls.Load() > 0
	if c.gone || c.known.Load() || c.working == busy {
		return
	}
	c.working = busy
	if busy {
		c.wake()
		c.of.conns.working++
		c.whose.working++
		return
	}
	c.of.conns.working--
	c.whose.working--
	c.rest()
}
