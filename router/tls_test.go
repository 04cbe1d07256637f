package router_test

import (
	"crypto/tls"
	"testing"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	"github.com/micro/go-platform/router/routertest"
)

func TestTLS(t *testing.T) {
	net := rpctest.New(t)
	srv := net.Boot(routersrv.Service())
	rpctest.Handshakes(t, srv.Address(), func(t *testing.T, addr string, c *tls.Config) error {
		reg := routertest.Registry(t, routertest.Service("shop", 1, "v1")[0], &registry.Service{
			Name: router.ServiceName, Nodes: []*registry.Node{{Id: "one", Address: addr, Metadata: map[string]string{"protocol": "grpc"}}},
		})
		r := router.NewRouter(selector.Registry(reg), router.TLS(c), router.Server(net.Server(rpctest.GRPC, "caller")), router.Logger(net.Logger))
		node := routertest.Take(t, r, "shop", nil)
		r.Record(request{"shop", "Orders.Place"}, node, 1, nil)
		return r.Stop() // an ErrLost, unless its statistics were taken
	})
}

type request struct{ service, method string }

func (r request) Service() string { return r.service }
func (r request) Method() string  { return r.method }
