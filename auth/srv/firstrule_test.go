package srv_test

import (
	"context"
	"errors"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	authpb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/config"
	configpb "github.com/micro/go-platform/config/proto"
	configsrv "github.com/micro/go-platform/config/srv"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/trace"
	tracepb "github.com/micro/go-platform/trace/proto"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// The first rule of a new user says who may call his services, and blinds nobody.
func TestTheFirstRuleDoesNotBlindThePlatform(t *testing.T) {
	net, secure := secured(t)
	net.Boot(tracesrv.New(), secure)
	configuration := net.Boot(configsrv.New(), secure)
	authed := admin(t, net, secure)
	accounts, policies := authpb.NewAccountService(auth.ServiceName, authed), authpb.NewPolicyService(auth.ServiceName, authed)
	member := func(id string) (auth.Auth, client.Client) {
		t.Helper()
		const secret = "a secret of a test"
		if _, err := accounts.Create(context.Background(), &authpb.CreateRequest{Account: &authpb.Record{Id: id, Type: "service", ClientSecret: secret}}); err != nil {
			t.Fatal(err)
		}
		a := auth.NewAuth(auth.Id(id), auth.Secret(secret), auth.Client(net.Client(rpctest.GRPC)), auth.Logger(net.Logger))
		t.Cleanup(func() { _ = a.Stop() }) // the test is over
		return a, net.Client(rpctest.GRPC, auth.ClientWrapper(a))
	}
	orders, _ := member("shop.orders")
	_, gateway := member("shop.gateway")
	net.Serve(rpctest.GRPC, "shop.orders", server.WrapHandler(auth.HandlerWrapper(orders)))
	place := func() error {
		_, err := echo.NewEchoService("shop.orders", gateway).Call(t.Context(), &echo.Request{})
		return err
	}
	search := tracepb.NewTraceService(trace.ServiceName, authed)
	spansArrive := func() {
		t.Helper()
		p := trace.NewTrace(trace.Client(gateway), trace.Service(&registry.Service{Name: "shop.gateway"}))
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		_, span := trace.Begin(context.Background(), p, "work")
		trace.End(p, span, nil)
		if err := p.Stop(); err != nil {
			t.Errorf("spans: %v", err)
		}
		// The admin sees them.
		rsp, err := search.Read(context.Background(), &tracepb.ReadRequest{Id: span.TraceId}, rpc.Options(rpc.DefaultTimeout)...)
		if err != nil || len(rsp.Spans) != 1 {
			t.Errorf("the admin reads %v, %v", rsp, err)
		}
	}
	closed := func() {
		t.Helper()
		_, err := configpb.NewConfigService(config.ServiceName, gateway).Search(t.Context(), &configpb.SearchRequest{})
		if !errors.Is(err, auth.ErrForbidden) {
			t.Errorf("configuration is open to everybody: %v", err)
		}
	}
	found, err := policies.Search(context.Background(), &authpb.PolicySearchRequest{})
	if err != nil || len(found.Rules) == 0 || !found.Rules[0].Starting {
		t.Fatalf("the starting rules are not shown: %v, %v", found, err)
	}
	if err := place(); err != nil {
		t.Errorf("before the first rule: %v", err)
	}
	spansArrive()
	closed()
	if _, err := policies.Create(context.Background(), &authpb.PolicyCreateRequest{Rule: &authpb.Rule{
		Id: "first", Effect: "allow", Accounts: []string{"somebody"}, Services: []string{"something.else"}, Starting: true,
	}}); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "what no rule allows is refused", func() bool { return errors.Is(place(), auth.ErrForbidden) })
	spansArrive()
	closed()
	// What a service of the platform refused is told to the admin, at its stop at
	// the latest.
	if err := configuration.Stop(); err != nil {
		t.Error(err)
	}
	denied, err := policies.Denials(context.Background(), &authpb.PolicyDenialsRequest{Account: "shop.gateway", Service: config.ServiceName}, rpc.Options(rpc.DefaultTimeout)...)
	if err != nil || len(denied.Denials) != 1 || denied.Denials[0].Call.Method != "Config.Search" || denied.Denials[0].Count != 2 {
		t.Errorf("denials: %v, %v", denied, err)
	}
}
