package daemon_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
)

// service is an Echo with a hook.
func service(start func(*daemon.Env) error) daemon.Service {
	return daemon.Service{
		Name:  "go.micro.srv.test",
		Usage: "answers what it was asked",
		Start: func(_ context.Context, env *daemon.Env) error {
			if start != nil {
				if err := start(env); err != nil {
					return err
				}
			}
			return echo.RegisterEchoHandler(env.Server, &rpctest.Echo{})
		},
	}
}

func TestNothingStartsOpenByAccident(t *testing.T) {
	net := rpctest.New(t)
	_, err := daemon.Start(context.Background(), service(nil), daemon.Config{Registry: net.Registry, Broker: net.Broker})
	if !errors.Is(err, daemon.ErrNoCredentials) {
		t.Fatalf("got %v, want ErrNoCredentials", err)
	}
}

func TestServesAndLeavesTheRegistry(t *testing.T) {
	net := rpctest.New(t)
	stopped := false
	running := net.Boot(service(func(env *daemon.Env) error {
		env.OnStop(func(context.Context) error { stopped = true; return nil })
		return nil
	}))
	svc := echo.NewEchoService("go.micro.srv.test", net.Client(rpctest.GRPC))
	if rsp, err := svc.Call(context.Background(), &echo.Request{Text: "hi"}); err != nil || rsp.Text != "hi" {
		t.Fatalf("got %v, %v", rsp, err)
	}
	// go-micro recovers unary handlers; one of a stream would end the process.
	if err := rpctest.Converse(context.Background(), svc, 1, &echo.Request{Panic: true}); err == nil || strings.Contains(err.Error(), "told to") {
		t.Fatalf("a panic became %v, want an error without its text", err)
	}
	for range 2 {
		if err := running.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := net.Registry.GetService("go.micro.srv.test"); !errors.Is(err, registry.ErrNotFound) || !stopped {
		t.Fatalf("after Stop: %v, OnStop called: %v", err, stopped)
	}
}

func TestMetadataIsBounded(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(service(nil))
	svc := echo.NewEchoService("go.micro.srv.test", net.Client(rpctest.GRPC))
	for size, ok := range map[int]bool{7 << 10: true, 64 << 10: false} {
		ctx := metadata.NewContext(context.Background(), metadata.Metadata{"x-large": strings.Repeat("a", size)})
		if _, err := svc.Call(ctx, &echo.Request{}); (err == nil) != ok {
			t.Errorf("%d bytes of metadata: %v", size, err)
		}
	}
	if _, err := svc.Call(context.Background(), &echo.Request{}); err != nil {
		t.Errorf("after a refused call: %v", err)
	}
}

func TestStopEndsStreams(t *testing.T) {
	net := rpctest.New(t)
	ended := make(chan struct{})
	running := net.Boot(service(func(env *daemon.Env) error {
		go func() { <-env.Done; close(ended) }()
		return nil
	}))
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestReadiness(t *testing.T) {
	net := rpctest.New(t)
	var mu sync.Mutex
	var broken error
	running := net.Boot(service(func(env *daemon.Env) error {
		env.Ready("store", func(context.Context) error { mu.Lock(); defer mu.Unlock(); return broken })
		return nil
	}), func(c *daemon.Config) { c.AdminAddr = "127.0.0.1:0" })
	get := func(path string) (int, string) {
		rsp, err := http.Get("http://" + running.AdminAddress() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rsp.Body.Close() }() // the test is over
		body, _ := io.ReadAll(rsp.Body)         // half a body shows below
		return rsp.StatusCode, string(body)
	}
	defer http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(path); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	mu.Lock()
	broken = errors.New("disk full")
	mu.Unlock()
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "store: disk full") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Error("a broken store made the process look dead")
	}
	svc := echo.NewEchoService("go.micro.srv.test", net.Client(rpctest.GRPC))
	if _, err := svc.Call(context.Background(), &echo.Request{}); err != nil {
		t.Fatal(err)
	}
	if _, body := get("/metrics"); !strings.Contains(body, `method="Echo.Call"`) {
		t.Errorf("/metrics does not show the call:\n%s", body)
	}
}

// run ends what would wait for auth-srv, which is not there.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out rpctest.Buffer
	errs := rpctest.Buffer{Until: "waiting for auth-srv", Then: cancel}
	code = daemon.Run(ctx, service(nil), append([]string{"test-srv"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestHelpIsForStrangers(t *testing.T) {
	code, out, _ := run(t, "--help")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"test-srv", "answers what it was asked", "--registry", "memory, mdns, consul, etcd, nats",
		"--registry_address", "--broker", "--broker_address", "--server_address", "--database_url", "--data_dir", "--insecure",
		"--log_level", "--tls_cert", "MICRO_REGISTRY", "SIGTERM"} {
		if !strings.Contains(out, want) {
			t.Errorf("--help lacks %q:\n%s", want, out)
		}
	}
}

func TestTyposAreAnswered(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--registy", "consul"}, 2, "unknown flag --registy, did you mean --registry?"},
		{[]string{"--xyzzy"}, 2, "unknown flag --xyzzy\n"},
		{[]string{"--registry", "consull"}, 2, `--registry "consull": want one of memory, mdns, consul, etcd, nats, platform, did you mean consul?`},
		{[]string{"--registry", "memory", "--broker", "kafka"}, 2, `--broker "kafka": want one of memory, http, nats`},
		{[]string{"--log_level", "loud"}, 2, `--log_level "loud"`},
		{[]string{"start"}, 2, `unexpected argument "start"`},
		{[]string{"--tls_cert", "x.pem"}, 2, "--tls_cert and --tls_key are needed together"},
		{[]string{"--tls_cert", "no.pem", "--tls_key", "no.pem"}, 1, "--tls_cert: open no.pem"},
		{[]string{"--registry", "memory", "--broker", "memory", "--data_dir", t.TempDir()}, 1, "--insecure"},
		{[]string{"--registry", "memory", "--broker", "memory", "--insecure", "--server_address", "999.0.0.1:0"}, 1, "999.0.0.1"},
		// Before auth-srv, which is not there, is waited for.
		{[]string{"--registry", "memory", "--broker", "memory", "--auth_id", "x", "--auth_secret", "y", "--server_address", "999.0.0.1:0"}, 1, "999.0.0.1"},
	} {
		code, _, stderr := run(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d, want %d, and %q in:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
}

func TestRunsUntilToldToStop(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var errs rpctest.Buffer
	done := make(chan int, 1)
	go func() {
		done <- daemon.Run(ctx, service(nil), []string{"test-srv", "--registry", "memory", "--broker", "memory", "--insecure"}, io.Discard, &errs)
	}()
	rpctest.Eventually(t, "it serves", func() bool { return strings.Contains(errs.String(), "msg=serving") })
	cancel()
	if code := <-done; code != 0 {
		t.Fatalf("exit code %d:\n%s", code, errs.String())
	}
}
