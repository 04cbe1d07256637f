package rpctest

import (
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Swallow returns an address at which connecting neither succeeds nor fails until the
// test ends, as of a host that is gone or behind a firewall: the queue of its
// listener is full.
func Swallow(tb testing.TB) string {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = syscall.Close(fd) }) // nobody waits for it
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		tb.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		tb.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		tb.Cleanup(func() { _ = c.Close() }) // it only took room
	}
	tb.Fatal("the listener's queue has no end")
	return ""
}

// Mute returns the address of a server that accepts connections and says nothing, as
// of a process that hangs, until the test ends.
func Mute(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() }) // which nobody accepts from
	return l.Addr().String()
}
