package router_test

import (
	"os"
	"testing"

	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
	"github.com/micro/go-platform/router/routertest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	if os.Getenv(inChild) != "" {
		os.Exit(m.Run())
	}
	rpctest.Main(m)
}

func TestPlatform(t *testing.T) {
	routertest.Run(t, standalone)
}

// TestGoMicro runs the suite over go-micro's own selector, which shows that it
// asks for nothing that go-micro does not promise.
func TestGoMicro(t *testing.T) {
	routertest.RunSelector(t, func(_ testing.TB, opts ...selector.Option) selector.Selector {
		return selector.NewSelector(opts...)
	})
}

// TestReports runs the suite over router-srv.
func TestReports(t *testing.T) {
	routertest.RunReports(t, func(tb testing.TB, opts ...selector.Option) router.Router {
		net := rpctest.New(tb)
		return router.NewRouter(append([]selector.Option{router.Logger(net.Logger), router.Server(net.Server(rpctest.GRPC, "caller"))}, opts...)...)
	}, func(t *testing.T) routertest.Reports {
		net := rpctest.New(t)
		own := net.Broker
		net.Broker = nil
		lone := net.Client(rpctest.GRPC)
		net.Broker = own
		api := pb.NewRouterService(router.ServiceName, net.Client(rpctest.GRPC))
		return routertest.Reports{
			Registry: net.Registry, Client: net.Client(rpctest.GRPC), Lone: lone,
			Boot: func() { net.Boot(routersrv.Service()) },
			Calls: func(service, method string) (n int64) {
				rsp, err := api.Stats(t.Context(), &pb.StatsRequest{Service: service})
				if err != nil {
					return 0
				}
				for _, s := range rsp.Stats {
					for _, e := range s.EndpointStats {
						if e.Name == method {
							n += e.Success.GetCount()
						}
					}
				}
				return n
			},
		}
	})
}
