// Command discoverynode is a process that registers nodes and keeps them
// registered until it is killed, for the process tests of discovery.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/etcd"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpc"
)

func main() {
	addresses := flag.String("addresses", "", "`host:port,...` of the discovery-srvs")
	cluster := flag.String("etcd", "", "`host:port` of an etcd to run on top of, instead of discovery-srvs")
	name := flag.String("name", "shop", "of the service; %d is replaced by the number of the node")
	prefix := flag.String("prefix", "node", "of node ids")
	nodes := flag.Int("nodes", 1, "how many to register")
	clients := flag.Int("clients", 1, "how many plugins share them")
	interval := flag.Duration("interval", time.Second, "of heartbeats")
	lost := flag.Float64("lost", 0, "part of the heartbeats that does not arrive")
	drain := flag.Bool("drain", false, "drain when standard input ends")
	flag.Parse()

	where := []discovery.Option{discovery.Addresses(strings.Split(*addresses, ",")...)}
	if *cluster != "" {
		where = []discovery.Option{discovery.Registry(etcd.NewEtcdRegistry(registry.Addrs(*cluster))), discovery.EnableDiscovery(false)}
	}
	var wg sync.WaitGroup
	limit := make(chan struct{}, 16)
	for i := range *clients {
		d := discovery.NewDiscovery(append(where, discovery.Interval(*interval), discovery.Client(newClient(*lost)))...)
		if err := d.Start(); err != nil {
			slog.Error("cannot start", "error", err)
			os.Exit(1)
		}
		if *drain {
			go drainAtEOF(d)
		}
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			for n := i; n < *nodes; n += *clients {
				register(d, strings.ReplaceAll(*name, "%d", fmt.Sprint(n)), fmt.Sprint(*prefix, n))
			}
		})
	}
	slog.New(slog.NewTextHandler(os.Stderr, nil)).Info("serving") // so much for the processes that tests start
	wg.Wait()
	select {}
}

// register tells of trouble and leaves the rest to the plugin.
func register(d discovery.Discovery, name, id string) {
	err := d.Register(&registry.Service{Name: name, Version: "v1", Nodes: []*registry.Node{{Id: id, Address: "127.0.0.1:9"}}})
	if err != nil {
		slog.Warn("will be registered later", "node", id, "error", err)
	}
}

func drainAtEOF(d discovery.Discovery) {
	_, _ = io.Copy(io.Discard, os.Stdin) // the end is all it waits for
	if err := d.Drain(); err != nil {
		slog.Warn("will drain later", "error", err)
	}
}

func newClient(lost float64) client.Client {
	var c client.Client = rpc.NewClient(rpc.Config{Registry: memreg.New()})
	if lost > 0 {
		c = &lossy{c, lost}
	}
	return c
}

// lossy swallows heartbeats: the sender believes that they arrived.
type lossy struct {
	client.Client
	part float64
}

func (c *lossy) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	if req.Endpoint() == "Registry.Renew" && rand.Float64() < c.part {
		return nil
	}
	return c.Client.Call(ctx, req, rsp, opts...)
}
