package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/micro/go-platform/auth"
	authsrv "github.com/micro/go-platform/auth/srv"
	configsrv "github.com/micro/go-platform/config/srv"
	dbsrv "github.com/micro/go-platform/db/srv"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
	routersrv "github.com/micro/go-platform/router/srv"
	"github.com/micro/go-platform/trace"
	tracepb "github.com/micro/go-platform/trace/proto"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// services are those of the platform with the methods that contract.md names.
func services() map[string][]string {
	return map[string][]string{
		"auth":      {"Account.Create", "Account.Read", "Account.Update", "Account.Delete", "Account.Search", "Oauth2.Authorize", "Oauth2.Token", "Oauth2.Revoke", "Oauth2.Introspect"},
		"config":    {"Config.Create", "Config.Read", "Config.Update", "Config.Delete", "Config.Search", "Config.AuditLog", "Config.Watch"},
		"db":        {"DB.Create", "DB.Read", "DB.Update", "DB.Delete", "DB.Search"},
		"discovery": {"Registry.Register", "Registry.Deregister", "Registry.GetService", "Registry.ListServices", "Registry.Watch", "Discovery.Heartbeats", "Discovery.Endpoints"},
		"event":     {"Event.Create", "Event.Read", "Event.Search", "Event.Stream", "Event.Update", "Event.Delete"},
		"monitor":   {"Monitor.HealthChecks", "Monitor.Services", "Monitor.Status", "Monitor.Stats"},
		"router":    {"Router.Select", "Router.SelectStream", "Router.Stats", "Label.Create", "Label.Read", "Label.Update", "Label.Delete", "Label.Search", "Rule.Create", "Rule.Read", "Rule.Update", "Rule.Delete", "Rule.Search"},
		"trace":     {"Trace.Create", "Trace.Read", "Trace.Delete", "Trace.Search"},
	}
}

// secured returns a network with auth-srv on it and what services need to enrol.
func secured(t *testing.T) (*rpctest.Net, func(*daemon.Config)) {
	t.Helper()
	net, dir := rpctest.New(t), t.TempDir()
	secure := func(c *daemon.Config) { c.Insecure, c.DataDir = false, dir }
	net.Boot(authsrv.New(authsrv.Config{}), secure)
	return net, secure
}

// admin is the plugin of somebody who may do everything.
func admin(t *testing.T, net *rpctest.Net, secure func(*daemon.Config), stack string) (auth.Auth, client.Client) {
	t.Helper()
	var c daemon.Config
	secure(&c)
	secret, err := os.ReadFile(filepath.Join(c.DataDir, authsrv.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	plain := net.Client(stack)
	a := auth.NewAuth(auth.Id(authsrv.AdminID), auth.Secret(strings.TrimSpace(string(secret))), auth.Client(plain))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a, auth.ClientWrapper(a)(plain)
}

// It goes by what the services register, so that a method which is new fails
// closed too.
func TestEveryMethodOfEveryServiceWantsAToken(t *testing.T) {
	net, secure := secured(t)
	for _, s := range []daemon.Bootable{
		configsrv.New(), dbsrv.New(), discoverysrv.New(), eventsrv.New(), monitorsrv.New(), routersrv.New(), tracesrv.New(),
	} {
		net.Boot(s, secure)
	}
	c := net.Client(rpctest.GRPC)
	for name, contract := range services() {
		name = "go.micro.srv." + name
		found, err := net.Registry.GetService(name)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", name, found, err)
		}
		var methods []string
		for _, e := range found[0].Endpoints {
			if e.Name == "Func" { // a subscriber, see TestForgedTopicsAreRefused
				continue
			}
			methods = append(methods, e.Name)
			err := callWithoutToken(c, name, e)
			code := call.Code(err)
			open := slices.Contains([]string{"Oauth2.Token", "Account.Enrol"}, e.Name) // they bring credentials of their own
			if err == nil || code != 401 && !(open && code >= 400 && code < 404) {
				t.Errorf("%s %s without a token: %v, want 401", name, e.Name, err)
			}
		}
		for _, m := range contract {
			if !slices.Contains(methods, m) {
				t.Errorf("%s has no %s, only %s", name, m, methods)
			}
		}
	}
}

func callWithoutToken(c client.Client, service string, e *registry.Endpoint) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if e.Metadata["stream"] != "true" {
		return c.Call(ctx, c.NewRequest(service, e.Name, &emptypb.Empty{}), &emptypb.Empty{})
	}
	s, err := c.Stream(ctx, c.NewRequest(service, e.Name, &emptypb.Empty{}, client.StreamingRequest()))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the test is over
	_ = s.Send(&emptypb.Empty{})     // of a stream that has ended already Recv tells why
	return s.Recv(&emptypb.Empty{})
}

func TestServicesEnrolOnce(t *testing.T) {
	net, secure := secured(t)
	var c daemon.Config
	secure(&c)
	first := net.Boot(tracesrv.New(), secure)
	file := filepath.Join(c.DataDir, "trace.credentials")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	// The secret is not needed again, and does not work again.
	bootstrap := filepath.Join(c.DataDir, daemon.BootstrapFile)
	secret, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(bootstrap); err != nil {
		t.Fatal(err)
	}
	net.Boot(tracesrv.New(), secure)
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("credentials changed, %v", err)
	}
	stolen := filepath.Join(t.TempDir(), "stolen")
	if err := os.WriteFile(stolen, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = daemon.Start(context.Background(), tracesrv.New(), daemon.Config{
		Registry: net.Registry, Broker: net.Broker, Logger: net.Logger, Credentials: daemon.Credentials{Bootstrap: stolen},
	})
	if err == nil {
		t.Error("a second one enrolled as go.micro.srv.trace")
	}
}

// A plugin authenticates by the client it was given, whatever stack that speaks.
func TestPluginsAuthenticateByTheirClient(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net, secure := secured(t)
		net.Boot(tracesrv.New(), secure)
		_, authed := admin(t, net, secure, stack)
		for name, c := range map[string]client.Client{"bare": net.Client(stack), "wrapped": authed, "wrapped twice": struct{ client.Client }{authed}} {
			p := trace.NewTrace(trace.Client(c), trace.Service(&registry.Service{Name: "test"}))
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			_, span := trace.Begin(context.Background(), p, "work of "+name)
			trace.End(p, span, nil)
			err := p.Stop()
			fit, release := rpc.Acquire(authed, nil)
			rsp, rerr := tracepb.NewTraceService("go.micro.srv.trace", fit).Read(context.Background(), &tracepb.ReadRequest{Id: span.TraceId}, rpc.Options(5*time.Second)...)
			release()
			if arrived := len(rsp.GetSpans()) == 1; arrived != (name != "bare") {
				t.Errorf("%s: arrived %v, stop %v, read %v", name, arrived, err, rerr)
			}
		}
	})
}

func TestForgedTopicsAreRefused(t *testing.T) {
	net, secure := secured(t)
	net.Boot(tracesrv.New(), secure)
	_, authed := admin(t, net, secure, rpctest.GRPC)
	forged, honest := span("1"), span("2")
	for _, m := range []struct {
		client client.Client
		span   *tracepb.Span
	}{{net.Client(rpctest.GRPC), forged}, {authed, honest}} {
		if err := m.client.Publish(context.Background(), m.client.NewMessage(trace.TraceTopic, m.span)); err != nil && m.client == authed {
			t.Fatal(err)
		}
	}
	svc := tracepb.NewTraceService("go.micro.srv.trace", authed)
	read := func(s *tracepb.Span) int {
		rsp, err := svc.Read(context.Background(), &tracepb.ReadRequest{Id: s.TraceId}, rpc.Options(5*time.Second)...)
		if err != nil {
			return 0
		}
		return len(rsp.Spans)
	}
	rpctest.Eventually(t, "the span with a token is stored", func() bool { return read(honest) == 1 })
	if read(forged) != 0 {
		t.Error("a span without a token was stored")
	}
}

func span(digit string) *tracepb.Span {
	return &tracepb.Span{
		Name: "published", TraceId: strings.Repeat(digit, 32), Id: strings.Repeat(digit, 16),
		Timestamp: time.Now().UnixMicro(), Duration: 1, Source: &tracepb.Service{Name: "test"},
	}
}
