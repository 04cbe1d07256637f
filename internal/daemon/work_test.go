package daemon_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/recorder"
)

func newLog(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

// get returns a page of the admin address.
func get(t *testing.T, url string) (int, string) {
	rsp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = rsp.Body.Close() }() // it was read
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(body)
}

// What a service cannot do is in its log, its readiness and its metrics until it
// can again; what its callers did wrong is not.
func TestFailingWork(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	n := rpctest.New(t)
	var log rpctest.Buffer
	var env *daemon.Env
	r := n.Boot(service(func(e *daemon.Env) error { env = e; return nil }), func(c *daemon.Config) {
		c.AdminAddr, c.Logger = "127.0.0.1:0", newLog(&log)
	})
	at := "http://" + r.AdminAddress()
	svc := echo.NewEchoService("go.micro.srv.test", n.Client(rpctest.GRPC))
	call := func(fail int32) {
		_, err := svc.Call(t.Context(), &echo.Request{Fail: fail}, client.WithRetries(0))
		if (err == nil) != (fail == 0) {
			t.Fatal(err)
		}
	}
	for _, code := range []int32{400, 403, 404, 409, 412, 429} {
		call(code)
	}
	if code, body := get(t, at+"/readyz"); code != 200 {
		t.Errorf("after callers' mistakes: %s", body)
	}
	for range 3 {
		call(500)
	}
	if code, body := get(t, at+"/readyz"); code != 503 || !strings.Contains(body, "work: Echo.Call failed 3 times: ") {
		t.Errorf("after three failures: %d %s", code, body)
	}
	if _, body := get(t, at+"/metrics"); !strings.Contains(body, `test_srv_work_failed_total{what="Echo.Call"} 3`) || !strings.Contains(body, `test_srv_work_failing{what="Echo.Call"} 1`) {
		t.Errorf("the metrics do not show it:\n%s", body)
	}
	if n := strings.Count(log.String(), `"cannot do its work" `); n != 1 || !strings.Contains(log.String(), "what=Echo.Call failed=1 error=") {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
	call(0)
	if code, body := get(t, at+"/readyz"); code != 200 {
		t.Errorf("when it works again: %s", body)
	}
	if !strings.Contains(log.String(), `"works again"`) {
		t.Errorf("the log does not say so:\n%s", log.String())
	}
	if err := env.Worked("write the history", errors.New("disk full")); err == nil {
		t.Error("the error is gone")
	}
	if code, body := get(t, at+"/readyz"); code != 503 || !strings.Contains(body, "write the history failed 1 time: disk full") {
		t.Errorf("work that no caller waits for: %d %s", code, body)
	}
}

// A failure that nobody sees again ends by itself, in the gauge as for readiness.
func TestAFailureIsBelievedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := recorder.NewMetrics()
		w := daemon.NewWork(slog.New(slog.DiscardHandler), m)
		gauge := func() int64 {
			w.Scraped()
			v, _ := m.GaugeValue("work_failing", metrics.Fields{"what": "flush"})
			return v
		}
		for range 2 { // it comes back after it was forgotten
			w.Note("flush", errors.New("disk full"))
			time.Sleep(9 * time.Second)
			if w.Err() == nil || gauge() != 1 {
				t.Errorf("after nine seconds: %v, gauge %d", w.Err(), gauge())
			}
			time.Sleep(time.Second)
			if w.Err() != nil || gauge() != 0 {
				t.Errorf("after ten seconds: %v, gauge %d", w.Err(), gauge())
			}
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// An answer tells nothing of what is behind the service.
func TestAnswersHoldNoAddress(t *testing.T) {
	for _, text := range []string{
		"read: dial tcp 10.1.2.3:3306: connect: connection refused",
		"dial tcp: lookup db.internal on 10.0.0.53:53: no such host",
		"read tcp [fd00::1]:4411->[fd00::2]:3306: i/o timeout",
		"open nats://micro:hunter2@nats-1.internal:4222/events: no servers",
		"database-7:5432 went away",
	} {
		for _, code := range []int32{500, 502, 503} {
			n := rpctest.New(t)
			n.Boot(service(func(e *daemon.Env) error {
				return e.Server.Handle(e.Server.NewHandler(&Failing{merrors.New("x", text, code)}))
			}))
			c := n.Client(rpctest.GRPC)
			err := c.Call(t.Context(), c.NewRequest("go.micro.srv.test", "Failing.Call", &echo.Request{}), &echo.Response{}, client.WithRetries(0))
			var e *merrors.Error
			if !errors.As(err, &e) || e.Code != code {
				t.Errorf("%s: got %v", text, err)
				continue
			}
			for _, secret := range []string{"10.", "3306", "internal", "fd00", "hunter2", "4222", "5432", "database-7"} {
				if strings.Contains(e.Detail, secret) {
					t.Errorf("%q is told as %q", text, e.Detail)
				}
			}
		}
	}
}

// Failing is a handler that fails.
type Failing struct{ err error }

// Call fails.
func (f *Failing) Call(context.Context, *echo.Request, *echo.Response) error { return f.err }

// The reason of a wait is told when it changes, not each time.
func TestWaitingTellsWhy(t *testing.T) {
	n := rpctest.New(t)
	var log rpctest.Buffer
	tries := 0
	n.Boot(service(func(e *daemon.Env) error {
		return e.Await(t.Context(), "better times", time.Minute, func(err error) bool { return errors.Is(err, rpcerr.ErrUnavailable) }, func(context.Context) error {
			tries++
			switch {
			case tries < 3:
				return rpcerr.ErrUnavailable
			case tries < 5:
				return errors.Join(rpcerr.ErrUnavailable, errors.New("for another reason"))
			}
			return nil
		})
	}), func(c *daemon.Config) { c.Logger = newLog(&log) })
	if n := strings.Count(log.String(), "waiting for better times"); n != 2 || !strings.Contains(log.String(), "waited for better times") {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

func TestWaitingEnds(t *testing.T) {
	n := rpctest.New(t)
	start := func(f func(e *daemon.Env) error) error {
		_, err := daemon.Start(t.Context(), service(f), daemon.Config{Registry: n.Registry, Broker: n.Broker, Logger: n.Logger, Insecure: true})
		return err
	}
	final := errors.New("final")
	passes := func(err error) bool { return !errors.Is(err, final) }
	if err := start(func(e *daemon.Env) error {
		return e.Await(t.Context(), "x", time.Minute, passes, func(context.Context) error { return final })
	}); !errors.Is(err, final) {
		t.Errorf("what does not pass: %v", err)
	}
	if err := start(func(e *daemon.Env) error {
		return e.Await(t.Context(), "x", 0, passes, func(context.Context) error { return rpcerr.ErrUnavailable })
	}); !errors.Is(err, rpcerr.ErrUnavailable) {
		t.Errorf("no wait is wanted: %v", err)
	}
}

// Flags are judged before anything is waited for: auth-srv is not there.
func TestBadFlagsFailAtOnce(t *testing.T) {
	checked := service(nil)
	var told atomic.Bool
	checked.Check = func(e *daemon.Env) error { told.Store(true); return e.CheckDatabase("nats") }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--database_url", "oracle://user:hunter2@x/y"}, 2, "unknown scheme"},
		{[]string{"--database_wait", "-1s"}, 2, "--database_wait"},
		{[]string{"--admin_address", "999.0.0.1:0"}, 1, "999.0.0.1"},
		{[]string{"--tls_client_ca", "x"}, 2, "--tls_cert"},
		{[]string{"--broker", "nats", "--broker_address", "nats://user:hunter2@" + backend.Address(t)}, 1, "connect to broker"},
	} {
		var errs rpctest.Buffer
		args := append([]string{"test-srv", "--registry", "memory", "--auth_address", backend.Address(t), "--data_dir", t.TempDir()}, c.args...)
		code := daemon.Run(t.Context(), checked, args, io.Discard, &errs)
		if out := errs.String(); code != c.code || !strings.Contains(out, c.want) || strings.Contains(out, "hunter2") || strings.Contains(out, "waiting for") {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", c.args, code, c.code, c.want, out)
		}
	}
	if !told.Load() {
		t.Error("the service's own flags were not judged")
	}
}

// A service outlives who reads its output, and counts what is lost.
func TestReaderOfTheLogDies(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	address, admin := backend.Address(t), backend.Address(t)
	cmd := exec.Command(os.Args[0], "--registry", "memory", "--insecure", "--data_dir", t.TempDir(), "--server_address", address, "--admin_address", admin)
	cmd.Env = append(os.Environ(), asMain+"=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it fails when it has ended
	rpctest.Eventually(t, "it is ready", func() bool { code, _ := get(t, "http://"+admin+"/readyz"); return code == 200 })
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(rpc.Config{Registry: memreg.New()})
	defer c.Close()
	svc := echo.NewEchoService("go.micro.srv.test", c)
	if _, err := svc.Call(t.Context(), &echo.Request{Panic: true}, client.WithAddress(address), client.WithRetries(0)); err == nil {
		t.Fatal("no panic") // which is logged
	}
	if _, err := svc.Call(t.Context(), &echo.Request{}, client.WithAddress(address), client.WithRetries(0)); err != nil {
		t.Errorf("after its log was lost: %v", err)
	}
	if _, body := get(t, "http://"+admin+"/metrics"); !strings.Contains(body, "test_srv_log_lost") || strings.Contains(body, "test_srv_log_lost 0") {
		t.Errorf("the loss is not counted:\n%s", body)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
