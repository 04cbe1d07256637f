package config_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	configsrv "github.com/micro/go-platform/config/internal/srv"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/config/source/memory"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// srv is a config-srv that can be killed and started again.
type srv struct {
	*rpctest.Net
	t       testing.TB
	url     string
	running *daemon.Running
	made    map[string]bool
}

func newServer(t testing.TB) *srv {
	t.Helper()
	s := &srv{Net: rpctest.New(t), t: t, url: "sqlite://" + filepath.Join(t.TempDir(), "config.db"), made: map[string]bool{}}
	s.start()
	return s
}

func (s *srv) start() {
	s.t.Helper()
	s.running = s.Boot(configsrv.Service(), func(c *daemon.Config) { c.DatabaseURL = s.url })
}

func (s *srv) stop() {
	s.t.Helper()
	if err := s.running.Stop(); err != nil {
		s.t.Error(err)
	}
}

// put writes with a client that has not seen the server before, and again when a
// busy machine kept it from connecting in time.
func (s *srv) put(id, data string) {
	s.t.Helper()
	api := pb.NewConfigService(config.ServiceName, s.Client(rpctest.GRPC))
	change := &pb.Change{Id: id, ChangeSet: &pb.ChangeSet{Data: data}}
	var err error
	eventually(s.t, "the server can be reached", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
		defer cancel()
		if s.made[id] {
			_, err = api.Update(ctx, &pb.UpdateRequest{Change: change})
		} else {
			_, err = api.Create(ctx, &pb.CreateRequest{Change: change})
		}
		return call.Code(err) != 503
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.made[id] = true
}

// eventually is patient: go-micro's clients may take ten seconds to find a
// service that moved.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func quiet() config.Option {
	return config.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func run(t *testing.T, opts ...config.Option) config.Config {
	t.Helper()
	c := config.NewConfig(append([]config.Option{quiet()}, opts...)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestConfigSrvSource(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		configtest.RunSource(t, func(t testing.TB) configtest.Fixture {
			s := newServer(t)
			put := func(t testing.TB, values map[string]any) {
				data, err := json.Marshal(values)
				if err != nil {
					t.Fatal(err)
				}
				s.put("prod:shop", string(data))
			}
			return configtest.Fixture{
				Source: config.NewSource(config.SourceName("prod:shop"), config.SourceClient(s.Client(stack))), Put: put,
				Break: func(testing.TB) { s.stop() }, Heal: func(testing.TB) { s.start() },
			}
		})
	})
}

// TestDefaultSource is a config without any option but the client: it starts
// before config-srv exists.
func TestDefaultSource(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	s := &srv{Net: rpctest.New(t), t: t, url: "sqlite::memory:", made: map[string]bool{}}
	c := run(t, config.WithClient(s.Client(rpctest.RPC)))
	if got := c.Get("a").Int(7); got != 7 {
		t.Errorf("without a server: %d", got)
	}
	if st := c.Status(); len(st) != 1 || st[0].Source != "config-srv:MICRO:CONFIG" || st[0].Required || !errors.Is(st[0].Err, config.ErrUnavailable) {
		t.Errorf("status: %+v", st)
	}
	s.start()
	s.put(config.DefaultSourceName, `{"a":1}`)
	eventually(t, "it heals when the server appears", func() bool { return c.Get("a").Int(0) == 1 })
}

func TestSourceHosts(t *testing.T) {
	s, elsewhere := newServer(t), rpctest.New(t)
	s.put("prod:shop", `{"a":1}`)
	// The client's registry knows no config-srv.
	c := run(t, config.PollInterval(time.Hour), config.WithSource(config.NewSource(config.SourceName("prod:shop"),
		config.SourceClient(elsewhere.Client(rpctest.GRPC)), config.SourceHosts(s.running.Address()))))
	s.put("prod:shop", `{"a":2}`)
	eventually(t, "news arrives", func() bool { return c.Get("a").Int(0) == 2 })
}

func TestSourceServers(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	s := newServer(t)
	s.put("prod:shop", `{"a":1}`)
	for name, c := range map[string]client.Client{"": nil, "with a client": rpctest.New(t).Client(rpctest.GRPC)} {
		t.Run(name, func(t *testing.T) {
			configtest.RunServers(t, s.running.Address(), func(_ testing.TB, hosts ...string) config.Source {
				return config.NewSource(config.SourceName("prod:shop"), config.SourceClient(c), config.SourceHosts(hosts...))
			})
		})
	}
}

func TestSourceTLS(t *testing.T) {
	s := newServer(t)
	s.put("prod:shop", `{"a":1}`)
	rpctest.Handshakes(t, s.running.Address(), func(_ *testing.T, addr string, c *tls.Config) error {
		_, err := config.NewSource(config.SourceName("prod:shop"), config.SourceHosts(addr), config.SourceTLS(c)).Read()
		return err
	})
}

func TestBadSourceName(t *testing.T) {
	s := config.NewSource(config.SourceName("../x"))
	if _, err := s.Read(); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "option SourceName") {
		t.Error(err)
	}
	if _, err := s.Watch(); !errors.Is(err, config.ErrInvalid) {
		t.Error(err)
	}
}

// TestFaultServerDead: values stay, a cold start takes them from the snapshot,
// and the server is found again.
func TestFaultServerDead(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	s := newServer(t)
	s.put("prod:shop", `{"a":1,"password":"s3cret"}`)
	file := filepath.Join(t.TempDir(), "config.snapshot")
	newConfig := func() config.Config {
		return config.NewConfig(quiet(), config.SnapshotFile(file), config.WithSource(memory.NewSource(memory.Data([]byte(`{"z":1}`)))),
			config.WithSource(config.NewSource(config.SourceName("prod:shop"), config.SourceClient(s.Client(rpctest.GRPC)))))
	}
	warm := newConfig()
	if err := warm.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	eventually(t, "the server is missed", func() bool { return warm.Status()[1].WatchErr != nil })
	if got := warm.Get("a").Int(0); got != 1 {
		t.Errorf("values are gone: %d", got)
	}
	if err := warm.Stop(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("snapshot: %v, %v", info, err)
	}
	cold := newConfig()
	if err := cold.Start(); err != nil { // although the source is required
		t.Fatal(err)
	}
	defer func() {
		if err := cold.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if st := cold.Status()[1]; cold.Get("a").Int(0) != 1 || cold.Get("z").Int(0) != 1 || !st.FromSnapshot || st.Err == nil {
		t.Errorf("cold start: %s, %+v", cold.Bytes(), st)
	}
	s.start()
	s.put("prod:shop", `{"a":2}`)
	eventually(t, "the server is back", func() bool {
		st := cold.Status()[1]
		return cold.Get("a").Int(0) == 2 && !st.FromSnapshot && st.Err == nil && st.WatchErr == nil
	})
}

// TestFaultServerRestartedEmpty: an empty server does not make values vanish.
func TestFaultServerRestartedEmpty(t *testing.T) {
	t.Parallel() // it waits, and has a server of its own
	s := newServer(t)
	for i := range 5 {
		s.put("prod:shop", fmt.Sprintf(`{"a":%d}`, i))
	}
	c := run(t, config.WithSource(config.NewSource(config.SourceName("prod:shop"), config.SourceClient(s.Client(rpctest.GRPC)))))
	s.stop()
	s.url, s.made = "sqlite::memory:", map[string]bool{}
	s.start()
	eventually(t, "it is told", func() bool { return errors.Is(c.Status()[0].Err, config.ErrNotFound) })
	if got := c.Get("a").Int(-1); got != 4 {
		t.Errorf("values are gone: %d", got)
	}
	s.put("prod:shop", `{"a":9}`) // at a revision below those the client knows
	eventually(t, "what is new arrives", func() bool { return c.Get("a").Int(-1) == 9 })
}

// TestFaultAThousandWatchersReconnect counts how long it takes until all have
// what changed while the server was away.
func TestFaultAThousandWatchersReconnect(t *testing.T) {
	const n = 1000
	s := newServer(t)
	s.put("prod:shop", `{"a":0}`)
	var clients []client.Client
	for range 10 { // a process each
		clients = append(clients, s.Client(rpctest.GRPC))
	}
	var all [n]config.Config
	for i := range all {
		all[i] = config.NewConfig(quiet(), config.PollInterval(time.Hour), config.WithOptionalSource(
			config.NewSource(config.SourceName("prod:shop"), config.SourceClient(clients[i%len(clients)]))))
	}
	// They come back all at once, but need not begin or end so.
	inTurn := func(f func(config.Config) error) {
		var work sync.WaitGroup
		for first := range 8 {
			work.Go(func() {
				for i := first; i < n; i += 8 {
					if err := f(all[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
	}
	inTurn(config.Config.Start)
	defer inTurn(config.Config.Stop)
	at := func(want int) (count int) {
		for _, c := range all {
			if c.Get("a").Int(-1) == want {
				count++
			}
		}
		return count
	}
	wait := func(want int) time.Duration {
		begun := time.Now()
		for at(want) < n {
			if time.Since(begun) > 150*time.Second {
				t.Fatalf("%d of %d have %d after %v", at(want), n, want, time.Since(begun))
			}
			time.Sleep(5 * time.Millisecond)
		}
		return time.Since(begun)
	}
	wait(0)
	s.stop()
	s.start()
	s.put("prod:shop", `{"a":1}`)
	t.Logf("all back after %v", wait(1))
}

func TestRolloutReachesItsInstances(t *testing.T) {
	s := newServer(t)
	s.put("prod:shop", `{"mode":"old"}`)
	c := s.Client(rpctest.GRPC)
	source := func(opts ...config.SourceOption) config.Config {
		return run(t, config.PollInterval(time.Hour), config.WithSource(config.NewSource(
			append(opts, config.SourceName("prod:shop"), config.SourceClient(c))...)))
	}
	in := source(config.SourceInstance("shop-1"), config.SourceLabels(map[string]string{"zone": "a"}))
	out := source(config.SourceInstance("shop-2"))
	nameless := source(config.SourceLabels(map[string]string{"zone": "a"}))
	api := pb.NewConfigService(config.ServiceName, c)
	if _, err := api.Update(t.Context(), &pb.UpdateRequest{
		Change:  &pb.Change{Id: "prod:shop", Path: "mode", ChangeSet: &pb.ChangeSet{Data: `"new"`}},
		Rollout: &pb.Rollout{Percent: 100, Labels: map[string]string{"zone": "a"}},
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the chosen one has it", func() bool { return in.Get("mode").String("") == "new" })
	if out.Get("mode").String("") != "old" || nameless.Get("mode").String("") != "old" {
		t.Error("others have it too")
	}
	if _, err := api.Rollout(t.Context(), &pb.RolloutRequest{Id: "prod:shop", Action: pb.RolloutRequest_PROMOTE}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have it", func() bool {
		return out.Get("mode").String("") == "new" && nameless.Get("mode").String("") == "new"
	})
}
