package srv_test

import (
	"context"
	"testing"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"google.golang.org/protobuf/types/known/emptypb"

	configsrv "github.com/micro/go-platform/config/srv"
	dbsrv "github.com/micro/go-platform/db/srv"
	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/srv"
	eventsrv "github.com/micro/go-platform/event/srv"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	monitorsrv "github.com/micro/go-platform/monitor/srv"
	routersrv "github.com/micro/go-platform/router/srv"
	"github.com/micro/go-platform/trace"
	tracepb "github.com/micro/go-platform/trace/proto"
)

// thief is a trace-srv that keeps the tokens it is sent.
type thief struct {
	tracepb.TraceHandler
	tokens chan string
}

func (h *thief) Create(ctx context.Context, _ *tracepb.CreateRequest, _ *tracepb.CreateResponse) error {
	md, _ := metadata.FromContext(ctx)
	keep(h.tokens, md)
	return nil
}

// keep takes the token out of headers.
func keep(tokens chan string, header map[string]string) {
	for _, key := range []string{"authorization", "Authorization"} {
		if token := header[key]; token != "" {
			select {
			case tokens <- token:
			default:
			}
		}
	}
}

// Attack: the token that somebody sends to trace-srv, to whoever registered as
// such, and that discovery-srv publishes with micro.discovery.watch, shown to
// every method of every other service.
func TestAStolenTokenOpensNothing(t *testing.T) {
	net, secure := secured(t)
	for _, s := range []daemon.Bootable{configsrv.New(), dbsrv.New(), discoverysrv.New(), eventsrv.New(), monitorsrv.New(), routersrv.New()} {
		net.Boot(s, secure)
	}
	stolen := make(chan string, 1)
	published := make(chan string, 1)
	sub, err := net.Broker.Subscribe(discovery.WatchTopic, func(e broker.Event) error {
		keep(published, e.Message().Header)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() }) // the test is over
	forged := net.Server(rpctest.GRPC, trace.ServiceName)
	if err := tracepb.RegisterTraceHandler(forged, &thief{tokens: stolen}); err != nil {
		t.Fatal(err)
	}
	net.Start(forged)

	authed := admin(t, net, secure)
	p := trace.NewTrace(trace.Client(authed), trace.Service(&registry.Service{Name: "test"}))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	_, span := trace.Begin(context.Background(), p, "work")
	trace.End(p, span, nil)
	_ = p.Stop() // the thief says that it took the span
	d := discovery.NewDiscovery(discovery.Client(authed), discovery.Registry(net.Registry))
	if err := d.Register(&registry.Service{Name: "admin", Nodes: []*registry.Node{{Id: "admin-1", Address: "127.0.0.1:1"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop() }) // the test is over

	for kind, tokens := range map[string]chan string{"of a call": stolen, "of a message": published} {
		var token string
		select {
		case token = <-tokens:
		case <-time.After(30 * time.Second):
			t.Fatalf("no token %s was sent", kind)
		}
		everyMethodRefuses(t, net, kind, token)
	}
}

func everyMethodRefuses(t *testing.T, net *rpctest.Net, kind, token string) {
	t.Helper()
	c := net.Client(rpctest.GRPC)
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"authorization": token})
	for _, name := range []string{"auth", "config", "db", "discovery", "event", "monitor", "router"} {
		name = "go.micro.srv." + name
		found, err := net.Registry.GetService(name)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, e := range found[0].Endpoints {
			open := e.Name == "Oauth2.Token" || e.Name == "Account.Enrol" // they bring credentials of their own
			if e.Name == "Func" || e.Metadata["stream"] == "true" || open {
				continue
			}
			err := c.Call(ctx, c.NewRequest(name, e.Name, &emptypb.Empty{}), &emptypb.Empty{})
			if call.Code(err) != 401 {
				t.Errorf("%s %s with the token %s: %v, want 401", name, e.Name, kind, err)
			}
		}
	}
}
