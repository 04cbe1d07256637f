package backend

import (
	"context"
	"testing"
	"time"
)

// Zipkin returns a Zipkin server. It keeps its spans in memory, hence not over Kill and Restart.
func Zipkin(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "zipkin",
		ports:    usual(1),
		patience: 3 * time.Minute,
		find:     jars("zipkin"),
		command: func(p *place) []string {
			return jvm(p, "zipkin", "org.springframework.boot.loader.launch.JarLauncher",
				"--armeria.ports[0].ip=127.0.0.1", "--armeria.ports[0].port="+p.port(0),
				"--armeria.ports[0].protocols[0]=http", "--zipkin.storage.type=mem")
		},
		ready: func(ctx context.Context, p *place) error {
			return probeHTTP(ctx, "http://"+p.addr(0)+"/health", `"UP"`)
		},
		describe: httpURL,
	}, opts)
}

// FromKafka makes Zipkin collect, besides its HTTP API, from the topic "zipkin" of the Kafka broker at addr.
func FromKafka(addr string) Option {
	return func(r *request) { r.env = append(r.env, "KAFKA_BOOTSTRAP_SERVERS="+addr) }
}
