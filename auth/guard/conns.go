package guard

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Connecting bounds the connections of each host and those of all hosts
// together. A quarter of either bound may be idle. When there are too many, the
// oldest idle connection is closed for the newest, so that a client that opens
// a thousand and leaves them shuts nobody out, not even another caller at the
// same host. Connections at work are never closed: once they alone reach the
// bound, a new one is closed.
type Connecting struct {
	host, all int
	closed    func() // called for each that is closed; may be nil
	mu        sync.Mutex
	idle      list.List // of *conn, the oldest first
	hosts     map[string]*hostConns
	working   int
}

type hostConns struct {
	idle    list.List
	working int
}

// NewConnecting returns a Connecting with bounds for the connections of one
// host and of all. The function, which may be nil, is called for each
// connection that a bound closes.
func NewConnecting(host, all int, closed func()) *Connecting {
	return &Connecting{host: host, all: all, closed: closed, hosts: map[string]*hostConns{}}
}

// Listener returns a listener that bounds what l accepts. On a grpc server with
// a Guard a connection is at work while it has calls, and for good after its
// first call with a good token. On an HTTP server State decides.
func (c *Connecting) Listener(l net.Listener) net.Listener { return &listener{l, c} }

// State is for the ConnState of an http.Server.
func (c *Connecting) State(nc net.Conn, s http.ConnState) {
	if nc, ok := nc.(*conn); ok {
		switch s {
		case http.StateActive:
			nc.work(true)
		case http.StateIdle:
			nc.work(false)
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
	of      *Connecting
	at      *address
	whose   *hostConns
	inAll   *list.Element // among the idle ones; nil: it is not
	inHost  *list.Element
	working bool
	gone    bool
	used    atomic.Bool  // a call had a good token: it is at work for good
	calls   atomic.Int64 // of strangers
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

// began notes that a call was let in. A call with a good token keeps its
// connection at work for good.
func began(at net.Addr, stranger bool) {
	a, ok := at.(*address)
	if !ok {
		return
	}
	if stranger {
		a.conn.calls.Add(1)
	} else if a.conn.used.Swap(true) {
		return
	}
	a.conn.work(true)
}

// over notes that a stranger's call has ended.
func over(at net.Addr) {
	if a, ok := at.(*address); ok && a.conn.calls.Add(-1) == 0 && !a.conn.used.Load() {
		a.conn.work(false)
	}
}

func (c *Connecting) admit(nc net.Conn) net.Conn {
	at := &address{Addr: nc.RemoteAddr(), host: HostOf(nc.RemoteAddr())}
	made := &conn{Conn: nc, of: c, at: at}
	at.conn = made
	c.mu.Lock()
	made.whose = c.hosts[at.host]
	if made.whose == nil {
		made.whose = &hostConns{}
		c.hosts[at.host] = made.whose
	}
	made.rest()
	var over *conn
	switch {
	case crowded(made.whose.idle.Len(), made.whose.working, c.host):
		over = made.whose.idle.Front().Value.(*conn)
	case crowded(c.idle.Len(), c.working, c.all):
		over = c.idle.Front().Value.(*conn)
	}
	if over != nil {
		over.leave()
	}
	c.mu.Unlock()
	if over != nil {
		_ = over.Conn.Close() // nobody is left to be told
		if c.closed != nil {
			c.closed()
		}
	}
	return made
}

func crowded(idle, working, most int) bool { return idle+working > most || idle > (most+3)/4 }

// rest makes c the youngest idle one. It needs the lock.
func (c *conn) rest() {
	c.inAll, c.inHost = c.of.idle.PushBack(c), c.whose.idle.PushBack(c)
}

// wake takes c from the idle ones. It needs the lock.
func (c *conn) wake() {
	if c.inAll != nil {
		c.of.idle.Remove(c.inAll)
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
	c.wake()
	if c.working {
		c.of.working--
		c.whose.working--
	}
	if c.whose.working == 0 && c.whose.idle.Len() == 0 {
		delete(c.of.hosts, c.at.host)
	}
}

func (c *conn) work(begins bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.gone || c.working == begins {
		return
	}
	c.working = begins
	if begins {
		c.wake()
		c.of.working++
		c.whose.working++
		return
	}
	c.of.working--
	c.whose.working--
	c.rest()
}
