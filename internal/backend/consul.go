package backend

import (
	"context"
	"os"
	"testing"
	"time"
)

// Consul returns a Consul server agent that has elected itself and is in its own catalog; its data outlives
// Kill and Restart.
func Consul(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "consul",
		ports:    usual(3),
		patience: 60 * time.Second,
		find:     program("consul"),
		command:  consulCommand,
		ready: func(ctx context.Context, p *place) error {
			return probeHTTP(ctx, "http://"+p.addr(0)+"/v1/catalog/service/consul", `"ServiceName"`)
		},
		describe: httpURL,
	}, opts)
}

// Consul asks its maker for news unless told not to, and waits five times as long for an election as a
// server on the same machine needs.
const consulConfig = `
disable_update_check = true
connect { enabled = false }
performance { raft_multiplier = 1 }
`

// WipeConsul removes what a server of Consul that was killed has kept.
func WipeConsul(tb testing.TB, s *Server) {
	tb.Helper()
	if err := os.RemoveAll(s.own(tb, "Wipe").place.dir + "/data"); err != nil {
		tb.Fatal(err)
	}
}

func consulCommand(p *place) []string {
	return []string{
		p.bin, "agent", "-server", "-bootstrap-expect=1", "-node=test",
		"-data-dir=" + p.dir + "/data", "-bind=127.0.0.1", "-client=127.0.0.1",
		"-http-port=" + p.port(0), "-server-port=" + p.port(1), "-serf-lan-port=" + p.port(2),
		"-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1",
		"-log-level=warn", "-hcl=" + consulConfig,
	}
}
