package guard_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/auth/guard/guardtest"
	authpb "github.com/micro/go-platform/auth/proto"
	authsrv "github.com/micro/go-platform/auth/srv"
	configsrv "github.com/micro/go-platform/config/srv"
	dbsrv "github.com/micro/go-platform/db/srv"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
	routersrv "github.com/micro/go-platform/router/srv"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// asService makes the test binary one of the services.
const asService = "GO_PLATFORM_TEST_SERVICE"

// service is one of the eight, with a method that an admin may call.
type service struct {
	main   func() int
	method string
}

var services = map[string]service{
	"auth":      {authsrv.Main, "Account.Search"},
	"config":    {configsrv.Main, "Config.Search"},
	"db":        {dbsrv.Main, "DB.Search"},
	"discovery": {discoverysrv.Main, "Registry.ListServices"},
	"event":     {eventsrv.Main, "Event.Search"},
	"monitor":   {monitorsrv.Main, "Monitor.Services"},
	"router":    {routersrv.Main, "Rule.Search"},
	"trace":     {tracesrv.Main, "Trace.Search"},
}

func TestMain(m *testing.M) {
	if s, ok := services[os.Getenv(asService)]; ok {
		os.Exit(s.main())
	}
	rpctest.Main(m)
}

// memoryLimit is what the services are told to live with (GOMEMLIMIT), and
// mostMemory what they may take of the machine.
const (
	memoryLimit = "160MiB"
	mostMemory  = 256 << 20
)

// running is a service in a process of its own.
type running struct {
	*rpctest.Process
	address, admin string
	web            string // "": it has no HTTP face
}

func boot(t *testing.T, name string, args ...string) *running {
	t.Helper()
	return bootWith(t, memoryLimit, name, args...)
}

func bootWith(t *testing.T, memory, name string, args ...string) *running {
	t.Helper()
	args = append(args, "--admin_address", "127.0.0.1:0", "--data_dir", filepath.Join(t.TempDir(), name), "--register_interval", "1s")
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asService+"="+name, "GOMEMLIMIT="+memory)
	r := &running{Process: rpctest.StartProcess(t, cmd)}
	t.Cleanup(r.Kill)
	r.Serving()
	m := regexp.MustCompile(`msg=serving .*address=(\S+) admin=(\S+)`).FindStringSubmatch(r.Output.String())
	r.address, r.admin = m[1], m[2]
	return r
}

// status returns a figure of the kernel's, in bytes.
func (r *running) status(t *testing.T, name string) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Cmd.Process.Pid))
	if err != nil {
		t.Fatalf("the process is gone: %v\n%s", err, r.Output.String())
	}
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(data)
	if m == nil {
		t.Fatalf("no %s: the process is dead\n%s", name, r.Output.String())
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// listening returns on how many sockets the process accepts connections.
func (r *running) listening(t *testing.T) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", r.Cmd.Process.Pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := make(map[string]bool)
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil { // or it was closed meanwhile
			open[to] = true
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && open["socket:["+f[9]+"]"] { // TCP_LISTEN
				n++
			}
		}
	}
	return n
}

// platform is auth-srv and what its accounts call with.
type platform struct {
	auth       *running
	args       []string // of the other services
	admin, low auth.Auth
	caller     client.Client // the admin's
}

func bootAuth(t *testing.T, memory string) *platform {
	t.Helper()
	web := backend.Address(t)
	p := &platform{auth: bootWith(t, memory, "auth", "--registry", "memory", "--http_address", web)}
	p.auth.web = web
	var dir string
	for i, a := range p.auth.Cmd.Args {
		if a == "--data_dir" {
			dir = p.auth.Cmd.Args[i+1]
		}
	}
	p.args = []string{"--auth_address", p.auth.address, "--auth_bootstrap", filepath.Join(dir, "auth-bootstrap")}
	secret, err := os.ReadFile(filepath.Join(dir, authsrv.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	n := rpctest.New(t)
	bare := n.Client(rpctest.GRPC)
	account := func(id, secret string) auth.Auth {
		a := auth.NewAuth(auth.Id(id), auth.Secret(secret), auth.Client(bare), auth.Addresses(p.auth.address), auth.Logger(n.Logger))
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Stop(); err != nil {
				t.Error(err)
			}
		})
		return a
	}
	p.admin = account(authsrv.AdminID, strings.TrimSpace(string(secret)))
	p.caller = n.Client(rpctest.GRPC, auth.ClientWrapper(p.admin))
	rpctest.Eventually(t, "the admin has a token", func() bool { _, err := p.admin.Token(); return err == nil })
	req := &authpb.CreateRequest{Account: &authpb.Record{Id: "low", Type: "service", ClientSecret: "secret of low", Scopes: []string{"service"}}}
	if _, err := authpb.NewAccountService(auth.ServiceName, p.caller).Create(t.Context(), req, client.WithAddress(p.auth.address)); err != nil {
		t.Fatal(err)
	}
	rule := &authpb.PolicyCreateRequest{Rule: &authpb.Rule{Id: "low", Effect: "allow", Accounts: []string{"low"}, Services: []string{"go.micro.srv.*"}}}
	if _, err := authpb.NewPolicyService(auth.ServiceName, p.caller).Create(t.Context(), rule, client.WithAddress(p.auth.address)); err != nil {
		t.Fatal(err)
	}
	p.low = account("low", "secret of low")
	return p
}

// tokenFor returns what an account would show to a service.
func tokenFor(t *testing.T, a auth.Auth, service string) string {
	t.Helper()
	get := func() (*auth.Token, error) { return a.Token() }
	if f, ok := a.(interface {
		TokenFor(string) (*auth.Token, error)
	}); ok {
		get = func() (*auth.Token, error) { return f.TokenFor(service) }
	}
	var token *auth.Token
	rpctest.Eventually(t, "there is a token", func() (ok bool) {
		var err error
		token, err = get()
		return err == nil
	})
	return token.AccessToken
}

// callers call until the returned function is called, which returns how long
// each call took and what failed.
func (p *platform) callers(name string, at *running) (stop func() ([]time.Duration, []error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var failed []error
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				one, end := context.WithTimeout(ctx, 10*time.Second)
				req := p.caller.NewRequest("go.micro.srv."+name, services[name].method, &emptypb.Empty{})
				err := p.caller.Call(one, req, &emptypb.Empty{}, client.WithAddress(at.address), client.WithRequestTimeout(10*time.Second), client.WithRetries(0))
				end()
				mu.Lock()
				if code := codeOf(err); err == nil || code == 400 || code == 404 {
					took = append(took, time.Since(begun))
				} else if ctx.Err() == nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() ([]time.Duration, []error) { cancel(); all.Wait(); return took, failed }
}

// A flood of each kind against each service: it lives within its memory, and
// others are served. The long form is behind make faults.
func TestFaultFloods(t *testing.T) {
	last := 300 * time.Millisecond
	if os.Getenv("FAULTS") != "" {
		last = 10 * time.Second
	}
	p := bootAuth(t, memoryLimit)
	for _, name := range []string{"auth", "config", "db", "discovery", "event", "monitor", "router", "trace"} {
		t.Run(name, func(t *testing.T) {
			at := p.auth
			if name != "auth" {
				args := p.args
				if name != "discovery" {
					args = append([]string{"--registry", "memory"}, args...)
				}
				at = boot(t, name, args...)
			}
			ports := []string{at.address, at.admin}
			if at.web != "" {
				ports = append(ports, at.web)
			}
			if n := at.listening(t); n != len(ports) {
				t.Errorf("it listens on %d sockets, want %d", n, len(ports))
			}
			for _, f := range []struct {
				name  string
				flood func() (end func())
			}{
				{"nothing", func() func() { return func() {} }},
				{"60 messages of 16 MB without a token", func() func() { return p.held(t, name, at, "") }},
				{"60 messages of 16 MB of a low account", func() func() { return p.held(t, name, at, tokenFor(t, p.low, "go.micro.srv."+name)) }},
				{"400 MB posted", func() func() { return posted(ports) }},
				{"1050 idle connections", func() func() { return idling(t, ports) }},
			} {
				stop := p.callers(name, at)
				end := f.flood()
				time.Sleep(last) // the flood's length, not a wait for anything
				took, failed := stop()
				end()
				slices.Sort(took)
				if len(failed) > 0 || len(took) == 0 {
					t.Fatalf("%s: %d callers were served, %d were not, the first: %v", f.name, len(took), len(failed), slices.Concat(failed, []error{nil})[0])
				}
				t.Logf("%-40s %5d calls, p50 %v, p99 %v, peak %d MB", f.name, len(took),
					took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond), at.status(t, "VmHWM")>>20)
			}
			for _, reason := range []string{guard.Unauthenticated, guard.Bytes, guard.Connections} {
				if body := metricsOf(t, at); !strings.Contains(body, `_srv_refused_total{reason="`+reason+`"} `) {
					t.Errorf("its metrics do not tell of %q", reason)
				}
			}
			if peak := at.status(t, "VmHWM"); peak > mostMemory*raceFactor {
				t.Errorf("it took %d MB", peak>>20)
			}
		})
	}
}

func metricsOf(t *testing.T, at *running) string {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	rsp, err := c.Get("http://" + at.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }() // it was read
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// held floods over four connections, and a method that is open without a token
// from one more.
func (p *platform) held(t *testing.T, name string, at *running, token string) (end func()) {
	t.Helper()
	var all []*guardtest.Holder
	attack := func(method string, streams, size int) {
		a := guardtest.Attack{Address: at.address, Path: "/" + strings.Replace(method, ".", "/", 1), Token: token, Streams: streams, Size: size}
		h, err := guardtest.Hold(a)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	for range 4 {
		attack(services[name].method, 15, 16<<20)
	}
	if name == "auth" {
		attack("Oauth2.Token", 900, 64<<10)
		attack("Oauth2.Token", 60, 16<<20)
	}
	for _, h := range all {
		rpctest.Eventually(t, "the flood has sent what it could", h.Settled)
	}
	return func() {
		for _, h := range all {
			h.Close()
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// posted sends 400 MB to each port by HTTP.
func posted(ports []string) (end func()) {
	var all sync.WaitGroup
	c := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	for _, at := range ports {
		for _, path := range []string{"/readyz", "/oauth2/token", "/"} {
			all.Go(func() {
				rsp, err := c.Post("http://"+at+path, "application/x-www-form-urlencoded", io.LimitReader(zeros{}, 400<<20))
				if err == nil {
					_ = rsp.Body.Close() // it was refused, or thrown away
				}
			})
		}
	}
	return func() { all.Wait(); c.CloseIdleConnections() }
}

// idling opens connections to each port, of which half send the beginning of
// something, and then asks the HTTP ones whether they answer.
func idling(t *testing.T, ports []string) (end func()) {
	t.Helper()
	var all []net.Conn
	for i, at := range ports {
		for n := range 1050 {
			c, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
			if n%2 == 0 {
				_, _ = io.WriteString(c, "PRI * HTTP") // it may have been closed
			}
		}
		if i == 0 {
			continue
		}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		rsp, err := c.Get("http://" + at + "/readyz")
		if err != nil {
			t.Fatalf("beside idle connections: %v", err)
		}
		_ = rsp.Body.Close() // only whether it answers matters
	}
	return func() {
		for _, c := range all {
			_ = c.Close() // what it was for is over
		}
	}
}
