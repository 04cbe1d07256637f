package nats_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/eventtest"
	"github.com/micro/go-platform/event/nats"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// on makes Events on a stream for each test.
func on(url string) eventtest.New {
	return func(t testing.TB, opts ...event.Option) event.Event {
		return nats.NewEvent(append([]event.Option{event.Servers(url), nats.Stream(stream(t))}, opts...)...)
	}
}

func stream(t testing.TB) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name())) // a hash takes everything
	return fmt.Sprintf("log%x", h.Sum64())
}

func TestNATS(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	n := on(backend.NATS(t).URL)
	eventtest.Run(t, n)
	eventtest.RunTypesInTurn(t, func(t testing.TB, opts ...event.Option) event.Event {
		return n(t, append(opts, nats.Linger(10*time.Second))...)
	})
}

// purge is retention: it removes everything up to a sequence.
func purge(t testing.TB, url, stream string, upTo uint64) {
	t.Helper()
	s, err := js(t, url).Stream(context.Background(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(context.Background(), jetstream.WithPurgeSequence(upTo+1)); err != nil {
		t.Fatal(err)
	}
}

func js(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestRetention(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	server := backend.NATS(t)
	eventtest.RunRetention(t, on(server.URL), func(t testing.TB, last *event.Record) {
		purge(t, server.URL, stream(t), last.Sequence)
	})
}

func TestOverRestarts(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	server := backend.NATS(t)
	eventtest.RunRestart(t, on(server.URL), server.Kill, server.Restart)
}

func TestBadStream(t *testing.T) {
	e := nats.NewEvent(nats.Stream("a.b"))
	for range 2 {
		if err := e.Start(); !errors.Is(err, event.ErrInvalid) || err.Error() != `event: option Stream: "a.b" is not 1 to 64 letters, digits, - and _` {
			t.Errorf("Start: %v", err)
		}
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
}

// TestTLS has a NATS that speaks TLS, and one that wants a certificate too.
func TestTLS(t *testing.T) {
	ours, others, soon := rpctest.NewAuthority(t), rpctest.NewAuthority(t), time.Now().Add(time.Hour)
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	serve := func(ip string) string {
		cert, key := ours.Sign(ip, soon)
		return backend.NATS(t, backend.Args("--tls", "--tlscert", write("cert", cert), "--tlskey", write("key", key),
			"--tlscacert", write("ca", ours.PEM()), "--tlsverify")).Addr
	}
	right, wrong := serve("127.0.0.1"), serve("127.0.0.2")
	mine := []tls.Certificate{ours.Pair("127.0.0.1", soon)}
	for name, c := range map[string]struct {
		addr  string
		tls   *tls.Config
		works bool
	}{
		"right":                    {right, &tls.Config{RootCAs: ours.Pool(), Certificates: mine}, true},
		"wrong CA":                 {right, &tls.Config{RootCAs: others.Pool(), Certificates: mine}, false},
		"wrong name":               {wrong, &tls.Config{RootCAs: ours.Pool(), Certificates: mine}, false},
		"no client certificate":    {right, &tls.Config{RootCAs: ours.Pool()}, false},
		"wrong client certificate": {right, &tls.Config{RootCAs: ours.Pool(), Certificates: []tls.Certificate{others.Pair("127.0.0.1", soon)}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := nats.NewEvent(event.Servers(c.addr), event.TLS(c.tls), event.Logger(slog.New(slog.DiscardHandler)))
			if err := e.Publish(t.Context(), &event.Record{}); (err == nil) != c.works {
				t.Errorf("Publish: %v", err)
			}
			if err := e.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestServers has the first dead, and the last, and one that is something else.
func TestServers(t *testing.T) {
	alive, dead := backend.NATS(t).Addr, backend.Address(t)
	sets := [][]string{{dead, alive}, {alive, dead}}
	for _, lie := range netcut.Lies() {
		liar := netcut.Liar(t, lie)
		sets = append(sets, []string{liar, alive}, []string{alive, liar})
	}
	for _, servers := range sets {
		e := nats.NewEvent(event.Servers(servers...), event.Logger(slog.New(slog.DiscardHandler)))
		rpctest.Eventually(t, fmt.Sprint("one of ", servers, " is found"), func() bool {
			return e.Publish(t.Context(), &event.Record{}) == nil
		})
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestStreamsOfOperations: a stream that cannot keep the promises is refused by an
// error that names the setting.
func TestStreamsOfOperations(t *testing.T) {
	url := backend.NATS(t).URL
	for want, conf := range map[string]jetstream.StreamConfig{
		"retention interest":     {Retention: jetstream.InterestPolicy},
		"retention workqueue":    {Retention: jetstream.WorkQueuePolicy},
		"storage memory":         {Storage: jetstream.MemoryStorage},
		"no_ack":                 {NoAck: true},
		"max_msgs_per_subject 1": {MaxMsgsPerSubject: 1},
		"subjects":               {Subjects: []string{"other.>"}},
		"":                       {MaxAge: time.Hour, Discard: jetstream.DiscardNew, MaxMsgs: 1000},
	} {
		t.Run(want, func(t *testing.T) {
			conf.Name = stream(t)
			if conf.Subjects == nil {
				conf.Subjects = []string{conf.Name + ".>"}
			}
			if _, err := js(t, url).CreateStream(t.Context(), conf); err != nil {
				t.Fatal(err)
			}
			e := on(url)(t)
			err := e.Publish(t.Context(), &event.Record{})
			if want == "" && err != nil || want != "" && (!errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), want)) {
				t.Errorf("Publish: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			for _, opts := range [][]event.ConsumeOption{nil, {event.Durable("d")}} {
				err := e.Consume(ctx, func(context.Context, *event.Delivery) error { return nil }, opts...)
				if want != "" && (!errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), want)) {
					t.Errorf("Consume: %v", err)
				}
			}
			if err := e.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
