package backend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports come from below the range that the kernel takes client ports from. There, a client that redials a
// killed server could be given the server's own port, connect to itself and keep the server from coming back.
const firstPort, lastPort = 15000, 32000

// port is a number that no other test binary uses while its lock is held, not even between Kill and Restart.
type port struct {
	number int
	lock   *os.File
}

type ports []port

func reserve(n int) (ports, error) {
	var got ports
	var last error
	for range 200 {
		if len(got) == n {
			return got, nil
		}
		p, err := reserveOne(firstPort + rand.IntN(lastPort-firstPort))
		if err != nil {
			last = err
			continue
		}
		got = append(got, p)
	}
	return nil, errors.Join(fmt.Errorf("find %d free ports: %w", n, last), got.release())
}

func reserveOne(number int) (port, error) {
	dir := filepath.Join(os.TempDir(), "go-platform-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return port{}, fmt.Errorf("make the directory of port locks: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(number)), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return port{}, fmt.Errorf("open the lock of port %d: %w", number, err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
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
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(number))
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
