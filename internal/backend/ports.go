package backend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/micro/go-platform/internal/atomicfile"
)

// usual is where n ports of a server come from: below the range that the kernel takes client ports from. In
// that range, a client that redials a killed server could be given the server's own port, connect to itself
// and keep the server from coming back.
func usual(n int) []span {
	return slices.Repeat([]span{{15000, 32000}}, n)
}

// span is a range of port numbers without its end.
type span struct{ from, to int }

// port is a number that no other test binary of this user uses while its lock is held, not even between Kill and Restart.
type port struct {
	number int
	lock   *os.File
}

func (p port) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number)) }

type ports []port

// Address returns a loopback address that nobody else listens at until the test ends, for a server that is told
// where to listen, that dies and returns, or that is meant to be dead. A port found by listening at port 0 is
// given to the next who does so as soon as it is closed.
func Address(tb testing.TB) string {
	tb.Helper()
	p, err := reserveIn(usual(1)[0])
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.lock.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p.address()
}

// reserve returns a free port from each of the ranges.
func reserve(from []span) (ports, error) {
	var got ports
	for _, s := range from {
		p, err := reserveIn(s)
		if err != nil {
			return nil, errors.Join(err, got.release())
		}
		got = append(got, p)
	}
	return got, nil
}

func reserveIn(s span) (port, error) {
	var last error
	for range 200 {
		p, err := reserveOne(s.from + rand.IntN(s.to-s.from))
		if err == nil {
			return p, nil
		}
		last = err
	}
	return port{}, fmt.Errorf("find a free port from %d to %d: %w", s.from, s.to-1, last)
}

func reserveOne(number int) (port, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("go-platform-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return port{}, fmt.Errorf("make the directory of port locks: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(number)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return port{}, fmt.Errorf("open the lock of port %d: %w", number, err)
	}
	err = atomicfile.TryLock(lock)
	if err == nil {
		err = free(number)
	}
	if err != nil {
		return port{}, errors.Join(fmt.Errorf("port %d: %w", number, err), lock.Close())
	}
	return port{number: number, lock: lock}, nil
}

// free asks for UDP as well, since Consul's gossip listens on both.
func free(number int) error {
	addr := port{number: number}.address()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(l.Close(), u.Close())
}

func (ps ports) release() error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, p.lock.Close())
	}
	return errors.Join(errs...)
}
