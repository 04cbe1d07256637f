package srv_test

import (
	"context"
	"errors"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/go-platform/auth"
	authpb "github.com/micro/go-platform/auth/proto"
	authsrv "github.com/micro/go-platform/auth/srv"
	"github.com/micro/go-platform/discovery"
	discoverypb "github.com/micro/go-platform/discovery/proto"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// Attack: an account that may call the registry registers another's name, to be
// sent what is meant for others.
func TestANameBelongsToItsAccount(t *testing.T) {
	net, dir := rpctest.New(t), t.TempDir()
	secure := func(c *daemon.Config) { c.Insecure, c.DataDir = false, dir }
	issuer := net.Boot(authsrv.New(authsrv.Config{}), secure)
	srv := net.Boot(discoverysrv.New(), secure, func(c *daemon.Config) {
		c.Registry, c.AuthAddresses = nil, []string{issuer.Address()}
	})
	authed := admin(t, net, secure)
	accounts, policies := authpb.NewAccountService(auth.ServiceName, authed), authpb.NewPolicyService(auth.ServiceName, authed)
	rule := func(r *authpb.Rule) {
		t.Helper()
		if _, err := policies.Create(context.Background(), &authpb.PolicyCreateRequest{Rule: r}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
			t.Fatal(err)
		}
	}
	rule(&authpb.Rule{Id: "registry", Effect: "allow", Services: []string{discovery.ServiceName}, Methods: []string{"Registry.*"}})
	const secret = "a secret of a test"
	as := func(id string) func(name string) error {
		t.Helper()
		if _, err := accounts.Create(context.Background(), &authpb.CreateRequest{Account: &authpb.Record{Id: id, Type: "service", ClientSecret: secret}}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
			t.Fatal(err)
		}
		a := auth.NewAuth(auth.Id(id), auth.Secret(secret), auth.Addresses(issuer.Address()), auth.Logger(net.Logger))
		d := discovery.NewDiscovery(discovery.Addresses(srv.Address()), discovery.Wrap(func(c client.Client) client.Client { return auth.ClientWrapper(a)(c) }), discovery.Logger(net.Logger))
		t.Cleanup(func() { _, _ = d.Stop(), a.Stop() }) // the test is over
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		return func(name string) error {
			return d.Register(&registry.Service{Name: name, Nodes: []*registry.Node{{Id: name + "-of-" + id, Address: "127.0.0.1:1"}}})
		}
	}
	greeter, low := as("greeter"), as("low")
	for _, name := range []string{"greeter", "greeter.kv"} {
		if err := greeter(name); err != nil {
			t.Errorf("its own %s: %v", name, err)
		}
	}
	for _, name := range []string{"greeter", "greeter.kv", "go.micro.srv.trace", auth.ServiceName, "orders"} {
		if err := low(name); !errors.Is(err, auth.ErrForbidden) {
			t.Errorf("another's %s: %v", name, err)
		}
	}
	a := auth.NewAuth(auth.Id("low"), auth.Secret(secret), auth.Addresses(issuer.Address()), auth.Logger(net.Logger))
	t.Cleanup(func() { _ = a.Stop() }) // the test is over
	stream, err := discoverypb.NewRegistryService(discovery.ServiceName, auth.ClientWrapper(a)(net.Client(rpctest.GRPC))).
		Replicate(t.Context(), &discoverypb.ReplicateRequest{}, client.WithAddress(srv.Address()))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a low account is told the leases with their keys: %v", err)
	}
	rule(&authpb.Rule{Id: "low-orders", Effect: "allow", Accounts: []string{"low"}, Services: []string{"name:orders"}})
	rpctest.Eventually(t, "a rule grants the name", func() bool { return low("orders") == nil })
	if err := low("greeter"); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("another's, after a rule about a third: %v", err)
	}
	api := discoverypb.NewRegistryService(discovery.ServiceName, auth.ClientWrapper(a)(net.Client(rpctest.GRPC)))
	at := append(rpc.Options(rpc.DefaultTimeout), client.WithAddress(srv.Address()))
	node := []*discoverypb.Node{{Id: "orders-3", Address: "127.0.0.1", Port: 3}}
	if _, err := api.Register(t.Context(), &discoverypb.RegisterRequest{Service: &discoverypb.Service{Name: "orders", Nodes: node}, Secret: "s"}, at...); err != nil {
		t.Fatal(err)
	}
	renewed := func() (*discoverypb.RenewResponse, error) {
		return api.Renew(t.Context(), &discoverypb.RenewRequest{Leases: []*discoverypb.Lease{{Service: "orders", Node: "orders-3", Secret: "s"}}}, at...)
	}
	if rsp, err := renewed(); err != nil || len(rsp.Refused)+len(rsp.Unknown) > 0 {
		t.Errorf("renewed while the rule holds: %v, %v", rsp, err)
	}
	if _, err := policies.Delete(context.Background(), &authpb.PolicyDeleteRequest{Id: "low-orders"}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "a lease ends with the rule", func() bool {
		rsp, err := renewed()
		return err == nil && len(rsp.Refused) == 1
	})
}
