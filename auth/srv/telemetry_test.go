package srv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/auth"
	authpb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/monitor"
	monitorpb "github.com/micro/go-platform/monitor/proto"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
	"github.com/micro/go-platform/router"
	routerpb "github.com/micro/go-platform/router/proto"
	routersrv "github.com/micro/go-platform/router/srv"
	"github.com/micro/go-platform/trace"
	tracepb "github.com/micro/go-platform/trace/proto"
	tracesrv "github.com/micro/go-platform/trace/srv"
)

// Attack: a low account reports that another service is broken, and calls that it
// never made or served.
func TestTelemetryIsOfItsOwnService(t *testing.T) {
	net, secure := secured(t)
	net.Boot(tracesrv.New(), secure)
	net.Boot(monitorsrv.New(), secure)
	net.Boot(routersrv.New(), secure)
	authed := admin(t, net, secure)
	accounts, policies := authpb.NewAccountService(auth.ServiceName, authed), authpb.NewPolicyService(auth.ServiceName, authed)
	const secret = "a secret of a test"
	if _, err := accounts.Create(context.Background(), &authpb.CreateRequest{Account: &authpb.Record{Id: "low", Type: "service", ClientSecret: secret}}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
		t.Fatal(err)
	}
	a := auth.NewAuth(auth.Id("low"), auth.Secret(secret), auth.Client(net.Client(rpctest.GRPC)), auth.Logger(net.Logger))
	t.Cleanup(func() { _ = a.Stop() }) // the test is over
	low := net.Client(rpctest.GRPC, auth.ClientWrapper(a))
	monitors, routers, traces := monitorpb.NewMonitorService(monitor.ServiceName, low), routerpb.NewRouterService(router.ServiceName, low), tracepb.NewTraceService(trace.ServiceName, low)
	acts := map[string]func(service string) error{
		"a report on health": func(service string) error {
			nodes := []*monitorpb.Node{{Id: service + "-1", Address: "127.0.0.1:1"}}
			_, err := monitors.Report(t.Context(), &monitorpb.ReportRequest{
				Service: &monitorpb.Service{Name: service, Nodes: nodes}, Incarnation: "a", Seq: 1, IntervalMs: 1000, Current: &monitorpb.Status{Status: monitorpb.Status_STARTED},
			}, rpc.Options(rpc.DefaultTimeout)...)
			return err
		},
		"a report on calls": func(service string) error {
			_, err := routers.Report(t.Context(), &routerpb.ReportRequest{
				Caller: &routerpb.Caller{Service: service, Node: service + "-1"}, Incarnation: "a", Seq: 1, IntervalMs: 1000,
			}, rpc.Options(rpc.DefaultTimeout)...)
			return err
		},
		"a selection": func(service string) error {
			_, err := routers.Select(t.Context(), &routerpb.SelectRequest{
				Service: "stock", Caller: &routerpb.Caller{Service: service, Node: service + "-2"},
			}, rpc.Options(rpc.DefaultTimeout)...)
			return err
		},
		"a span": func(service string) error {
			now := time.Now().UnixMicro()
			s := &tracepb.Span{Name: "work", Id: "00000000000000a1", TraceId: "000000000000000000000000000000b1", Timestamp: now, Source: &tracepb.Service{Name: service}}
			_, err := traces.Create(t.Context(), &tracepb.CreateRequest{Span: s}, rpc.Options(rpc.DefaultTimeout)...)
			return err
		},
	}
	for what, act := range acts {
		rpctest.Eventually(t, what+" of its own", func() bool { return act("low") == nil })
		if err := act("low.worker"); err != nil {
			t.Errorf("%s of a name below its own: %v", what, err)
		}
		for _, other := range []string{"orders", "go.micro.srv.trace", "lower"} {
			if err := act(other); !errors.Is(err, auth.ErrForbidden) {
				t.Errorf("%s of %s: %v", what, other, err)
			}
		}
	}
	if _, err := policies.Create(context.Background(), &authpb.PolicyCreateRequest{
		Rule: &authpb.Rule{Id: "low-orders", Effect: "allow", Accounts: []string{"low"}, Services: []string{"name:orders"}},
	}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
		t.Fatal(err)
	}
	for what, act := range acts {
		rpctest.Eventually(t, what+" of a name that a rule grants", func() bool { return act("orders") == nil })
	}
}
