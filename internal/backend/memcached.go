package backend

import (
	"context"
	"os"
	"testing"
	"time"
)

// Memcached returns a memcached server. Its data is gone after Kill, as is its nature.
func Memcached(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "memcached",
		debian:   "memcached",
		ports:    usual(1),
		patience: 30 * time.Second,
		find:     program("memcached"),
		command: func(p *place) []string {
			argv := []string{p.bin, "-l", "127.0.0.1", "-p", p.port(0), "-U", "0", "-m", "64"}
			if os.Geteuid() == 0 {
				// Changing the user would also undo the tie to the test binary.
				argv = append(argv, "-u", "root")
			}
			return argv
		},
		ready: func(ctx context.Context, p *place) error {
			return probeTCP(ctx, p.addr(0), "version\r\n", "VERSION")
		},
	}, opts)
}
