package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/micro/go-platform/event"
	eventnats "github.com/micro/go-platform/event/nats"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// jetStream runs a NATS server in this process, as event-srv does beside it,
// that syncs every message to disk before it acknowledges it.
func jetStream(b *testing.B) string {
	b.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: b.TempDir(), SyncAlways: true, NoSigs: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	b.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		b.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

func startEvent(b *testing.B, e event.Event) event.Event {
	b.Helper()
	if err := e.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Stop(); err != nil {
			b.Error(err)
		}
	})
	return e
}

// logs are the contestants: each acknowledges what is on disk.
func logs(b *testing.B, run func(b *testing.B, publish func(*event.Record) error, subscribe func(context.Context, func(string)) error)) {
	ours := func(b *testing.B, e event.Event) {
		run(b, func(r *event.Record) error { return e.Publish(context.Background(), r) },
			func(ctx context.Context, f func(string)) error {
				return e.Subscribe(ctx, func(r *event.Record) { f(r.Data) })
			})
	}
	b.Run("event-srv-sqlite", func(b *testing.B) {
		net := rpctest.New(b)
		net.Boot(eventsrv.New(), func(c *daemon.Config) { c.DatabaseURL = "sqlite://" + filepath.Join(b.TempDir(), "event.db") })
		ours(b, startEvent(b, event.NewEvent(event.Client(net.Client(rpctest.GRPC)), event.Timeout(time.Minute))))
	})
	b.Run("event-nats", func(b *testing.B) {
		ours(b, startEvent(b, eventnats.NewEvent(event.Servers(jetStream(b)), event.Timeout(time.Minute))))
	})
	b.Run("jetstream", func(b *testing.B) {
		nc, err := nats.Connect(jetStream(b))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		stream, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, Storage: jetstream.FileStorage})
		if err != nil {
			b.Fatal(err)
		}
		run(b, func(r *event.Record) error {
			_, err := js.Publish(context.Background(), "s.x", []byte(r.Data))
			return err
		}, func(ctx context.Context, f func(string)) error {
			c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
			if err != nil {
				return err
			}
			all, err := c.Consume(func(m jetstream.Msg) { f(string(m.Data())) })
			if err != nil {
				return err
			}
			<-ctx.Done()
			all.Stop()
			return nil
		})
	})
}

var payload = strings.Repeat("x", 200)

// BenchmarkEventAppend appends 200 bytes and waits until they are on disk.
func BenchmarkEventAppend(b *testing.B) {
	for _, publishers := range []int{1, 64} {
		b.Run(map[int]string{1: "1-publisher", 64: "64-publishers"}[publishers], func(b *testing.B) {
			logs(b, func(b *testing.B, publish func(*event.Record) error, _ func(context.Context, func(string)) error) {
				b.ReportAllocs()
				var next atomic.Int64
				done := make(chan error, publishers)
				b.ResetTimer()
				for range publishers {
					go func() {
						for next.Add(1) <= int64(b.N) {
							if err := publish(&event.Record{Data: payload}); err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
				}
				for range publishers {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		})
	}
}

// BenchmarkEventLatency is the time from the call of Publish to the handler of
// a subscriber.
func BenchmarkEventLatency(b *testing.B) {
	logs(b, func(b *testing.B, publish func(*event.Record) error, subscribe func(context.Context, func(string)) error) {
		b.ReportAllocs()
		got := make(chan struct{}, 1000)
		ctx, cancel := context.WithCancel(context.Background())
		over := make(chan error, 1)
		go func() { over <- subscribe(ctx, func(string) { got <- struct{}{} }) }()
		for begun := false; !begun; { // the subscription begins with what comes next
			if err := publish(&event.Record{Data: payload}); err != nil {
				b.Fatal(err)
			}
			select {
			case <-got:
				begun = true
			case <-time.After(100 * time.Millisecond):
			}
		}
		for drained := false; !drained; {
			select {
			case <-got:
			case <-time.After(200 * time.Millisecond):
				drained = true
			}
		}
		b.ResetTimer()
		for range b.N {
			if err := publish(&event.Record{Data: payload}); err != nil {
				b.Fatal(err)
			}
			<-got
		}
		b.StopTimer()
		cancel()
		<-over
	})
}

// tracedAppends is the appends of one traced process.
const tracedAppends = 200

// BenchmarkEventSyncs counts what the other figures rest on: each contestant
// syncs once for an append of a lone publisher. One iteration is this binary
// once more under strace, where there is one.
func BenchmarkEventSyncs(b *testing.B) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		b.Log("nobody counts without strace")
		return
	}
	for _, log := range []string{"event-srv-sqlite", "event-nats", "jetstream"} {
		b.Run(log, func(b *testing.B) {
			per := 0.0
			for b.Loop() {
				// The benchmark appends one record first, to find its pace.
				per = float64(syncs(b, strace, log)) / (tracedAppends + 1)
			}
			b.ReportMetric(per, "syncs/append")
			b.ReportMetric(0, "ns/op") // that of strace
			if per < 1 || per > 1.3 {  // more than one: checkpoints, and what is made at the start
				b.Errorf("%.2f syncs per append, want about 1", per)
			}
		})
	}
}

func syncs(b *testing.B, strace, log string) (n int) {
	b.Helper()
	table := filepath.Join(b.TempDir(), "counts")
	out, err := exec.Command(strace, "-f", "-c", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-U", "calls,name", "-o", table,
		os.Args[0], "-test.run", "^$", "-test.bench", "^BenchmarkEventAppend$/^1-publisher$/^"+log+"$", "-test.benchtime", fmt.Sprint(tracedAppends, "x")).CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	lines, err := os.ReadFile(table)
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(lines), "\n") {
		var calls int
		var name string
		if _, err := fmt.Sscan(line, &calls, &name); err == nil && strings.HasSuffix(name, "sync") {
			n += calls
		}
	}
	return n
}
