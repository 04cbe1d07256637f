package netcut

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// Lies are answers of HTTP servers that are something else than was expected: a page
// of a proxy, and JSON of another system.
func Lies() map[string]string {
	say := func(kind, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body)
	}
	return map[string]string{
		"Page": say("text/html", "<html>welcome</html>"), "Object": say("application/json", `{"status":"ok"}`), "List": say("application/json", "[]"),
	}
}

// Liar returns the address of a server that gives one answer to whatever it is sent.
func Liar(tb testing.TB, answer string) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var mu sync.Mutex
	var all []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			running.Go(func() {
				defer func() { _ = c.Close() }() // the other side may have
				for buf := make([]byte, 64<<10); ; {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write([]byte(answer)); err != nil {
						return
					}
				}
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close() // a second Close is at fault, and there is none
		mu.Lock()
		for _, c := range all {
			_ = c.Close() // the other side may have
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}
