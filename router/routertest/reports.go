package routertest

import (
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/router"
)

// Reports is what RunReports needs of the service that a router sends statistics to.
// Each case has a Reports of its own.
type Reports struct {
	Registry registry.Registry
	// Client and Lone are clients that find the service; Lone has no broker.
	Client, Lone client.Client
	// Boot starts the service, which was not there.
	Boot func()
	// Calls returns how many calls of a method of a service it was told of.
	Calls func(service, method string) int64
}

// RunReports runs the suite of routers that send statistics.
func RunReports(t *testing.T, newRouter New, reports func(t *testing.T) Reports) {
	for name, test := range map[string]func(*testing.T, New, Reports){"NoBroker": testNoBroker, "UTF8": testUTF8} {
		t.Run(name, func(t *testing.T) { test(t, newRouter, reports(t)) })
	}
}

func reporting(t *testing.T, newRouter New, r Reports, c client.Client, services ...*registry.Service) router.Router {
	t.Helper()
	for _, s := range services {
		if err := r.Registry.Register(s); err != nil {
			t.Fatal(err)
		}
	}
	return started(t, newRouter, selector.Registry(r.Registry), router.Client(c), router.Interval(router.MinInterval))
}

// testNoBroker has a router whose client has no broker go on while the service is
// away, and report when it is there.
func testNoBroker(t *testing.T, newRouter New, r Reports) {
	to := reporting(t, newRouter, r, r.Lone, Service("shop", 1, "v1")...)
	node := Take(t, to, "shop", nil)
	record := func() { to.Record(request{"shop", "Shop.Buy"}, node, time.Millisecond, nil) }
	begun := time.Now()
	Eventually(t, "a few windows", func() bool { record(); return time.Since(begun) > 5*router.MinInterval })
	r.Boot()
	Eventually(t, "calls arrive", func() bool { record(); return r.Calls("shop", "Shop.Buy") > 0 })
}

// testUTF8 has names that are not UTF-8 cost no report of others.
func testUTF8(t *testing.T, newRouter New, r Reports) {
	bad := &registry.Service{Name: "b\xffd", Version: "v\xff", Nodes: []*registry.Node{{Id: "\xff", Address: "127.0.0.1:9", Metadata: map[string]string{"k\xff": "v\xff"}}}}
	mixed := &registry.Service{Name: "shop", Version: "v\xff", Nodes: bad.Nodes}
	to := reporting(t, newRouter, r, r.Client, append(Service("shop", 1, "v1"), bad, mixed)...)
	r.Boot()
	good := Service("shop", 1, "v1")[0].Nodes[0]
	Eventually(t, "calls of the good method arrive", func() bool {
		for _, name := range []string{"b\xffd", "shop"} {
			Take(t, to, name, nil)
			to.Record(request{name, "Shop.B\xffy"}, bad.Nodes[0], time.Millisecond, nil)
		}
		to.Record(request{"shop", "Shop.Buy"}, good, time.Millisecond, nil)
		return r.Calls("shop", "Shop.Buy") > 3
	})
}
