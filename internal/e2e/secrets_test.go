package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/broker"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/config"
	configconsul "github.com/micro/go-platform/config/source/consul"
	configurl "github.com/micro/go-platform/config/source/url"
	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/event"
	eventnats "github.com/micro/go-platform/event/nats"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/kv"
	kvconsul "github.com/micro/go-platform/kv/consul"
	kvetcd "github.com/micro/go-platform/kv/etcd"
	"github.com/micro/go-platform/kv/memcached"
	"github.com/micro/go-platform/kv/redis"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/fluentd"
	"github.com/micro/go-platform/log/logstash"
	"github.com/micro/go-platform/log/pubsub"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/sync"
	syncconsul "github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/zipkin"
)

// loud is a broker whose errors repeat its address, as those of drivers do.
type loud struct {
	broker.Broker
	at string
}

func (l loud) Connect() error { return fmt.Errorf("parse %q: no", l.at) }

func outputErr(o log.Output) error {
	_ = o.Send(&log.Event{Message: "x"}) // Flush says what became of it
	return errors.Join(o.Flush(), o.Close())
}

// A password in an address is shown neither by the error nor by the log of a
// plugin that cannot use the address, or cannot reach what is there.
func TestPasswordsOfAddresses(t *testing.T) {
	const password = "s3cret-s3cret"
	long := "http://" + strings.Repeat("u", 50) + ":" + password // which a bound cuts before the @
	read := func(s config.Source) error { _, err := s.Read(); return err }
	get := func(k kv.KV) error {
		_, err := k.Get("key")
		return errors.Join(err, k.Stop())
	}
	for name, use := range map[string]func(at string, l *slog.Logger) error{
		"auth": func(at string, _ *slog.Logger) error {
			return auth.NewAuth(auth.Id("a"), auth.Secret("b"), auth.Addresses(at)).Start()
		},
		"config consul": func(at string, _ *slog.Logger) error { return read(configconsul.NewSource(config.SourceHosts(at))) },
		"config url":    func(at string, _ *slog.Logger) error { return read(configurl.NewSource(config.SourceName(at))) },
		"config":        func(at string, _ *slog.Logger) error { return read(config.NewSource(config.SourceHosts(at))) },
		"discovery":     func(at string, _ *slog.Logger) error { return discovery.NewDiscovery(discovery.Addresses(at)).Start() },
		"event nats": func(at string, l *slog.Logger) error {
			e := eventnats.NewEvent(event.Servers(at), event.Logger(l))
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			return errors.Join(e.Publish(ctx, &event.Record{Type: "x"}), e.Stop())
		},
		"kv redis":     func(at string, _ *slog.Logger) error { return get(redis.NewKV(kv.Servers([]string{at}))) },
		"kv memcached": func(at string, _ *slog.Logger) error { return get(memcached.NewKV(kv.Servers([]string{at}))) },
		"kv consul":    func(at string, _ *slog.Logger) error { return get(kvconsul.NewKV(kv.Servers([]string{at}))) },
		"kv etcd": func(at string, _ *slog.Logger) error {
			return get(kvetcd.NewKV(kv.Servers([]string{at}), kv.Timeout(300*time.Millisecond)))
		},
		"sync consul": func(at string, l *slog.Logger) error {
			s := syncconsul.NewSync(sync.Nodes(at), sync.Logger(l))
			lock, err := s.Lock("x")
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				err = lock.Acquire(sync.WithContext(ctx))
			}
			return errors.Join(err, s.Stop())
		},
		"trace zipkin": func(at string, l *slog.Logger) error {
			p := zipkin.NewTrace(trace.Collectors([]string{at}), trace.Logger(l))
			err := p.Start()
			return errors.Join(err, p.Collect(p.NewSpan(nil)), p.Stop())
		},
		"metrics": func(at string, _ *slog.Logger) error {
			return metrics.NewMetrics(metrics.Collectors([]string{at})).Start()
		},
		"log fluentd":  func(at string, _ *slog.Logger) error { return outputErr(fluentd.NewOutput(log.OutputName(at))) },
		"log logstash": func(at string, _ *slog.Logger) error { return outputErr(logstash.NewOutput(log.OutputName(at))) },
		"log pubsub": func(at string, _ *slog.Logger) error {
			return outputErr(pubsub.NewOutput(pubsub.Broker(loud{broker.NewMemoryBroker(), at})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a log waits for its server
			for _, at := range []string{
				"http://ann:" + password + "@127.0.0.1:1", "ann:" + password + "@127.0.0.1:1", "http://ann:" + password + "/x@127.0.0.1:1",
				"nats://" + password + "@127.0.0.1:1", long + "@127.0.0.1:1", "http://ann:" + password + "@127.0.0.1:port",
			} {
				var logged bytes.Buffer
				err := use(at, slog.New(slog.NewTextHandler(&logged, nil)))
				if text := fmt.Sprint(err) + logged.String(); strings.Contains(text, "s3cret") {
					t.Errorf("%s: %s", at, text)
				}
			}
		})
	}
}

// Neither does a service that cannot start.
func TestPasswordsOfFlags(t *testing.T) {
	for _, flag := range []string{"broker_address", "registry_address", "auth_address", "admin_address", "server_address"} {
		for _, at := range []string{"nats://ann:s3cret@127.0.0.1:1", "ann:s3cret@127.0.0.1:1", "nats://ann:s3cret/x@127.0.0.1:1"} {
			var out bytes.Buffer
			args := []string{"x-srv", "--insecure", "--admin_address", "127.0.0.1:0", "--registry", "memory", "--" + flag, at}
			switch flag {
			case "broker_address":
				args = append(args, "--broker", "nats")
			case "registry_address":
				args = append(args, "--registry", "platform")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			code := daemon.Run(ctx, daemon.Service{Name: "go.micro.srv.x"}, args, io.Discard, &out)
			cancel()
			if code == 0 || strings.Contains(out.String(), "s3cret") {
				t.Errorf("--%s %s: %d, %s", flag, at, code, out.String())
			}
		}
	}
}
