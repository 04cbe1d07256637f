package backend

import (
	"context"
	"testing"
	"time"
)

// Etcd returns an etcd cluster of one; its data outlives Kill and Restart.
func Etcd(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "etcd",
		debian:   "etcd-server",
		ports:    usual(2),
		patience: 60 * time.Second,
		find:     program("etcd"),
		command:  etcdCommand,
		ready: func(ctx context.Context, p *place) error {
			return probeHTTP(ctx, "http://"+p.addr(0)+"/health", `"true"`)
		},
		describe: httpURL,
	}, opts)
}

func etcdCommand(p *place) []string {
	client, peer := "http://"+p.addr(0), "http://"+p.addr(1)
	return []string{
		p.bin, "--name", "test", "--data-dir", p.dir + "/data",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "test=" + peer,
		// A cluster of one has nobody to wait for before it elects itself.
		"--heartbeat-interval", "20", "--election-timeout", "200",
		"--logger", "zap", "--log-level", "warn",
	}
}
