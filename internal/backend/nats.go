package backend

import (
	"context"
	"testing"
	"time"
)

// NATS returns a NATS server with JetStream, whose streams outlive Kill and Restart.
func NATS(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "nats",
		debian:   "nats-server",
		ports:    usual(1),
		patience: 30 * time.Second,
		find:     program("nats-server"),
		command: func(p *place) []string {
			return []string{p.bin, "-a", "127.0.0.1", "-p", p.port(0), "-js", "-sd", p.dir + "/data"}
		},
		ready: func(ctx context.Context, p *place) error {
			return probeTCP(ctx, p.addr(0), "", "INFO ")
		},
		describe: func(s *Server) { s.URL = "nats://" + s.Addr },
	}, opts)
}
