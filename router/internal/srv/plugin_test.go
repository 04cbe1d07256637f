package srv_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router"
	pb "github.com/micro/go-platform/router/proto"
)

type request struct{}

func (request) Service() string { return "stock" }
func (request) Method() string  { return "Stock.Read" }

// TestPluginsTogetherEject has three plugins, none of which would eject by
// itself, report a node that fails, and each learn what follows.
func TestPluginsTogetherEject(t *testing.T) {
	a := boot(t)
	a.register(t, 6)
	if _, err := a.limit.Create(within(t), &pb.CreateLimitRequest{Limit: &pb.LimitSet{Service: "stock", RequestsPerSecond: 1e6}}); err != nil {
		t.Fatal(err)
	}
	var routers []router.Router
	for i := range 3 {
		r := router.NewRouter(selector.Registry(a.net.Registry),
			router.Client(a.net.Client(rpctest.GRPC)), router.Server(a.net.Server(rpctest.GRPC, fmt.Sprint("shop", i))),
			router.Interval(100*time.Millisecond), router.Eject(1000, time.Second, time.Minute))
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
		})
		routers = append(routers, r)
	}
	nodes := stock(6).Services[0].Nodes
	rpctest.Eventually(t, "the node is ejected", func() bool {
		for _, r := range routers {
			if _, err := r.Select("stock"); err != nil {
				t.Fatal(err)
			}
			for i, n := range nodes {
				var err error
				if i == 0 {
					err = merrors.InternalServerError("stock", "broken")
				}
				r.Record(request{}, n, 5*time.Millisecond, err)
			}
		}
		rsp, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock"})
		return err == nil && len(rsp.Services) == 1 && rsp.Services[0].Nodes[0].Ejected
	})
	rpctest.Eventually(t, "every plugin knows why it gets nothing", func() bool {
		for _, r := range routers {
			e, err := r.Explain("stock")
			if err != nil || !strings.Contains(e.String(), "router-srv: consecutive_failures") {
				return false
			}
		}
		return true
	})
	s, err := a.router.Stats(within(t), &pb.StatsRequest{Service: "stock"})
	if err != nil || len(s.Stats) != 1 || s.Stats[0].Selected[0].Errors.GetCount() == 0 || s.Stats[0].Selected[1].Success.GetP50() < 4 {
		t.Errorf("stats: %v, %v", s, err)
	}
}
