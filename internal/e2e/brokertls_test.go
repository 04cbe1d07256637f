package e2e_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/broker/nats"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/pubsub"
	"github.com/micro/go-platform/trace"
)

// secureBrokers returns makers of brokers that speak TLS, by name. The server of
// nats wants a certificate of its clients.
func secureBrokers(t *testing.T, ca *rpctest.Authority) map[string]func(*tls.Config) broker.Broker {
	cert, key := ca.Sign("127.0.0.1", time.Now().Add(time.Hour))
	dir := t.TempDir()
	args := []string{"--tlsverify"}
	for flag, data := range map[string][]byte{"--tlscert": cert, "--tlskey": key, "--tlscacert": ca.PEM()} {
		path := filepath.Join(dir, flag+".pem")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, flag, path)
	}
	addr, reg := backend.NATS(t, backend.Args(args...)).Addr, linked{memreg.New(), t}
	return map[string]func(*tls.Config) broker.Broker{
		"nats": func(c *tls.Config) broker.Broker {
			return nats.NewNatsBroker(broker.Addrs(addr), broker.Secure(true), broker.TLSConfig(c))
		},
		"http": func(c *tls.Config) broker.Broker {
			return broker.NewHttpBroker(broker.Registry(reg), broker.Addrs("127.0.0.1:0"), broker.Secure(true), broker.TLSConfig(c))
		},
	}
}

// linked is a registry of nodes behind links that end with the test: go-micro's
// http broker has no way to close its connections.
type linked struct {
	registry.Registry
	t *testing.T
}

func (l linked) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	for _, n := range s.Nodes {
		n.Address = netcut.New(l.t, n.Address).Addr
	}
	return l.Registry.Register(s, opts...)
}

// heard counts the messages of a topic.
func heard(t *testing.T, b broker.Broker, topic string) *atomic.Int64 {
	t.Helper()
	n := &atomic.Int64{}
	sub, err := b.Subscribe(topic, func(broker.Event) error { n.Add(1); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sub.Unsubscribe(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// connected returns the broker, which is disconnected when the test is over.
func connected(t *testing.T, b broker.Broker) broker.Broker {
	t.Helper()
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Disconnect(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Logs and spans go by a broker that speaks TLS when the broker was given who
// signs certificates there, and one to show.
func TestTopicsByASecureBroker(t *testing.T) {
	ca, stranger := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	soon := time.Now().Add(time.Hour)
	good := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Pair("127.0.0.1", soon)}}
	for name, newBroker := range secureBrokers(t, ca) {
		t.Run(name, func(t *testing.T) {
			far, near := connected(t, newBroker(good)), connected(t, newBroker(good))
			logs, spans := heard(t, far, pubsub.Topic), heard(t, far, trace.TraceTopic)
			out := pubsub.NewOutput(pubsub.Broker(near))
			rpctest.Eventually(t, "an event by topic", func() bool {
				if err := errors.Join(out.Send(&log.Event{Message: "hi"}), out.Flush()); err != nil {
					t.Error(err)
				}
				return logs.Load() > 0 // the server may hear of the subscription later
			})
			tr := trace.NewTrace(trace.Client(client.NewClient(client.Broker(near), client.Registry(memreg.New()))),
				trace.BatchInterval(20*time.Millisecond), trace.Logger(slog.New(slog.DiscardHandler)))
			if err := tr.Start(); err != nil {
				t.Fatal(err)
			}
			rpctest.Eventually(t, "a span by topic", func() bool {
				_ = tr.Collect(tr.NewSpan(nil)) // the first ones find out that trace-srv is not there
				return spans.Load() > 0
			})
			_ = tr.Stop() // nobody took the spans by RPC
			if err := out.Close(); err != nil {
				t.Error(err)
			}
		})
		for what, c := range map[string]*tls.Config{
			"another authority":     {RootCAs: stranger.Pool(), Certificates: good.Certificates},
			"no authority":          {Certificates: good.Certificates},
			"a foreign certificate": {RootCAs: ca.Pool(), Certificates: []tls.Certificate{stranger.Pair("127.0.0.1", soon)}},
		} {
			if name == "http" && what == "a foreign certificate" { // it asks for none
				continue
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				near, logs := newBroker(c), heard(t, connected(t, newBroker(good)), pubsub.Topic)
				told := &rpctest.Buffer{}
				out := pubsub.NewOutput(pubsub.Broker(near), log.OutputLogger(slog.New(slog.NewTextHandler(told, nil))))
				if err := out.Send(&log.Event{Message: "hi"}); err != nil {
					t.Error(err)
				}
				if name == "nats" {
					rpctest.Eventually(t, "the output says why", func() bool { return strings.Contains(told.String(), "connect to the broker: ") })
				}
				err := out.Close()
				if lost := err != nil; lost != (name == "nats") { // that of http says that it went well
					t.Errorf("lost %v: %v", lost, err)
				}
				if err := near.Disconnect(); err != nil {
					t.Error(err)
				}
				if logs.Load() > 0 {
					t.Error("it went to somebody who could not be trusted")
				}
			})
		}
	}
}
