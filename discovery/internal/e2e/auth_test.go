package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/srv"
	"github.com/micro/go-platform/discovery"
	discoverypb "github.com/micro/go-platform/discovery/proto"
	eventpb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// estate is discovery-srv as the only registry, with authentication, auth-srv
// and event-srv on it.
type estate struct {
	*yard
	data                       string
	registry, issuer, events   string // addresses
	discovery, auth, event     *rpctest.Program
	registryFlags, issuerFlags []string
}

// A registry that asks for tokens and an issuer of tokens that registers there.
func TestAuthenticatedRegistry(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./discovery/discovery-srv", "./auth/auth-srv", "./event/event-srv")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, test := range map[string]func(*estate){"RegistryFirst": (*estate).testRegistryFirst, "IssuerFirst": (*estate).testIssuerFirst} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			test(newEstate(t, dir))
		})
	}
}

func newEstate(t *testing.T, dir string) *estate {
	t.Helper()
	e := &estate{yard: &yard{t, dir}, data: t.TempDir()}
	e.registry, e.issuer, e.events = backend.Address(t), backend.Address(t), backend.Address(t)
	e.registryFlags = []string{"--auth_address", e.issuer, "--data_dir", e.data}
	e.issuerFlags = []string{"--http_address", "", "--data_dir", e.data}
	return e
}

// run starts a process and does not wait for it to serve.
func (e *estate) run(name, address string, args ...string) *rpctest.Program {
	e.t.Helper()
	p := &rpctest.Program{TB: e.t, Path: filepath.Join(e.dir, name), Args: append([]string{
		"--server_address", address, "--broker", "memory", "--register_interval", beat().String(),
	}, args...)}
	p.Launch()
	e.t.Cleanup(func() {
		p.Kill()
		if e.t.Failed() {
			e.t.Logf("%s:\n%s", name, p.Run.Output.String())
		}
	})
	return p
}

func (e *estate) onIt(args ...string) []string {
	return append([]string{"--registry", "platform", "--registry_address", e.registry}, args...)
}

func (e *estate) start() {
	e.discovery = e.run("discovery-srv", e.registry, e.registryFlags...)
	e.auth = e.run("auth-srv", e.issuer, e.onIt(e.issuerFlags...)...)
	e.event = e.run("event-srv", e.events, e.onIt(e.registryFlags...)...)
	for _, p := range []*rpctest.Program{e.discovery, e.auth, e.event} {
		p.Run.Serving()
	}
}

// admin is a plugin of auth, and one of discovery that shows its token.
func (e *estate) admin() (auth.Auth, discovery.Discovery) {
	e.t.Helper()
	secret, err := os.ReadFile(filepath.Join(e.data, authsrv.AdminFile))
	if err != nil {
		e.t.Fatal(err)
	}
	a := auth.NewAuth(auth.Id(authsrv.AdminID), auth.Secret(strings.TrimSpace(string(secret))), auth.Addresses(e.issuer))
	d := discovery.NewDiscovery(discovery.Addresses(e.registry), discovery.Wrap(auth.ClientWrapper(a)), discovery.Interval(beat()))
	e.t.Cleanup(func() {
		if err := errors.Join(d.Stop(), a.Stop()); err != nil {
			e.t.Error(err)
		}
	})
	if err := errors.Join(a.Start(), d.Start()); err != nil {
		e.t.Fatal(err)
	}
	return a, d
}

// The order that looks impossible.
func (e *estate) testRegistryFirst() {
	t := e.t
	e.start()
	a, d := e.admin()
	services := []string{auth.ServiceName, discovery.ServiceName, "go.micro.srv.event"}
	registered := func() bool {
		for _, name := range services {
			if s, err := d.GetService(name); err != nil || len(s) == 0 || len(s[0].Nodes) == 0 {
				return false
			}
		}
		return true
	}
	rpctest.Eventually(t, "all are registered", registered)

	bare := rpc.NewClient(rpc.Config{Registry: d})
	t.Cleanup(bare.Close)
	known := auth.ClientWrapper(a)(bare)
	read := func(c client.Client) int32 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := eventpb.NewEventService("go.micro.srv.event", c).Search(ctx, &eventpb.SearchRequest{}, rpc.Options(time.Second)...)
		return call.Code(err)
	}
	refused := func() {
		t.Helper()
		if got := read(bare); got != 401 {
			t.Errorf("event-srv without a token: %d", got)
		}
		anybody := rpc.NewClient(rpc.Config{Registry: memreg.New()})
		defer anybody.Close()
		api := discoverypb.NewRegistryService(discovery.ServiceName, anybody)
		_, err := api.Register(context.Background(), &discoverypb.RegisterRequest{Service: &discoverypb.Service{
			Name: auth.ServiceName, Nodes: []*discoverypb.Node{{Id: "evil", Address: "127.0.0.1:1"}},
		}}, client.WithAddress(e.registry))
		if call.Code(err) != 401 {
			t.Errorf("registered without a token: %v", err)
		}
	}
	admitted := func() bool { return read(known) == 0 }
	rpctest.Eventually(t, "event-srv knows the keys", admitted)
	refused()

	e.auth.Kill()
	for end := time.Now().Add(rpctest.Phase()); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got := read(known); got != 0 {
			t.Fatalf("a known token without auth-srv: %d", got)
		}
	}
	refused()
	// The registry without auth-srv, whose keys come from its snapshot, and a
	// service that has no token until auth-srv is back.
	e.discovery.Kill()
	e.discovery.Start()
	e.event.Kill()
	e.event.Launch()
	e.auth.Start()
	e.event.Run.Serving()
	rpctest.Eventually(t, "a service that waited is found", func() bool { return registered() && admitted() })
	refused()

	for _, p := range []*rpctest.Program{e.discovery, e.auth, e.event} {
		p.Stop()
		p.Start()
		rpctest.Eventually(t, "found after a restart of "+filepath.Base(p.Path), func() bool { return registered() && admitted() })
		refused()
	}
}

// auth-srv serves before there is a registry, and is found when there is one.
func (e *estate) testIssuerFirst() {
	t := e.t
	e.auth = e.run("auth-srv", e.issuer, e.onIt(e.issuerFlags...)...)
	e.auth.Run.Serving()
	if out := e.auth.Run.Output.String(); strings.Contains(out, "registered route") {
		t.Errorf("lines of a library:\n%s", out)
	}
	e.discovery = e.run("discovery-srv", e.registry, e.registryFlags...)
	e.discovery.Run.Serving()
	_, d := e.admin()
	rpctest.Eventually(t, "auth-srv is found", func() bool {
		s, err := d.GetService(auth.ServiceName)
		return err == nil && len(s) == 1
	})
}
