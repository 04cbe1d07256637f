package backend

import (
	"context"
	"testing"
	"time"
)

// Redis returns a Redis server. It writes every change to its append-only file before it answers, so that
// what a client was told is there again after Kill and Restart.
func Redis(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "redis",
		debian:   "redis-server",
		ports:    usual(1),
		patience: 30 * time.Second,
		find:     program("redis-server"),
		command: func(p *place) []string {
			return []string{
				p.bin, "--bind", "127.0.0.1", "--port", p.port(0), "--dir", p.dir,
				"--appendonly", "yes", "--appendfsync", "no", "--save", "",
			}
		},
		ready: func(ctx context.Context, p *place) error {
			return probeTCP(ctx, p.addr(0), "PING\r\n", "+PONG")
		},
	}, opts)
}
