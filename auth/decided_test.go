package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// secure makes auth-srv ask for tokens.
func secure(c *daemon.Config) { c.Insecure = false }

// One Auth decides for several servers of a process, if its account holds their
// names.
func TestAsASecondService(t *testing.T) {
	r := newReal(t, secure)
	r.account("shop.orders")
	a := auth.NewAuth(auth.Id("shop.orders"), auth.Secret("shop.orders secret"), auth.Client(r.Client(rpctest.GRPC)), auth.Logger(r.Logger))
	auth.AskEvery(a, 100*time.Millisecond)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	ready := a.(interface{ Ready() error }).Ready
	asks := map[string]func() error{}
	for _, name := range []string{"shop.orders", "shop.orders.admin", "stock"} {
		token := r.accountFor("caller", name)
		r.Serve(rpctest.GRPC, name, server.WrapHandler(auth.HandlerWrapper(a, auth.As(name))))
		svc := echo.NewEchoService(name, r.Client(rpctest.GRPC))
		ask := func() error {
			_, err := svc.Call(metadata.NewContext(t.Context(), metadata.Metadata{"authorization": "Bearer " + token}), &echo.Request{})
			return err
		}
		asks[name] = ask
		if name != "stock" {
			rpctest.Eventually(t, "calls of "+name+" are decided", func() bool { return ask() == nil && ready() == nil })
			continue
		}
		rpctest.Eventually(t, "it is not ready", func() bool { return errors.Is(ready(), auth.ErrForbidden) })
		if err := ready(); !strings.Contains(err.Error(), `"stock"`) {
			t.Errorf("readiness does not name the service: %v", err)
		}
		if err := ask(); call.Code(err) != 503 {
			t.Errorf("a call of it: %v", err)
		}
	}
	// The names that it holds are decided for meanwhile, and the other one once it is granted.
	rpctest.Eventually(t, "calls of its own names are decided", func() bool { return asks["shop.orders"]() == nil && asks["shop.orders.admin"]() == nil })
	if _, err := r.policies.Create(r.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{
		Id: "stock", Effect: "allow", Services: []string{"name:stock"}, Accounts: []string{"shop.orders"},
	}}); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "calls of stock are decided", func() bool { return asks["stock"]() == nil && ready() == nil })
}

// A service that goes by a name which its account does not hold says so.
func TestReadinessSaysWhyThereAreNoRules(t *testing.T) {
	r := newReal(t, secure)
	r.account("shop")
	a := auth.NewAuth(auth.Id("shop"), auth.Secret("shop secret"), auth.Service("orders"), auth.Client(r.Client(rpctest.GRPC)), auth.Logger(r.Logger))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop() }() // the test is over
	ready := a.(interface{ Ready() error }).Ready
	rpctest.Eventually(t, "it says why", func() bool {
		err := ready()
		return errors.Is(err, auth.ErrUnavailable) && errors.Is(err, auth.ErrForbidden) && strings.Contains(err.Error(), `"orders"`)
	})
}
