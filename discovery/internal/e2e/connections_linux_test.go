package e2e_test

import (
	"context"
	"errors"
	"fmt"
	stdnet "net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/config"
	configconsul "github.com/micro/go-platform/config/source/consul"
	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/kv"
	kvconsul "github.com/micro/go-platform/kv/consul"
	"github.com/micro/go-platform/router"
	"github.com/micro/go-platform/sync"
	syncconsul "github.com/micro/go-platform/sync/consul"
)

// established counts the connections from here to a port.
func established(t *testing.T, address string) int {
	_, port, err := stdnet.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == "01" && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", n)) {
			count++
		}
	}
	return count
}

// A process that uses Consul for all that it can, go-micro's registry included, has
// three connections to it.
func TestConnectionsToConsul(t *testing.T) {
	srv := backend.Consul(t)
	net := rpctest.New(t)
	reg := func() registry.Registry {
		return consul.NewConsulRegistry(registry.Addrs(srv.Addr), discovery.SharedConsul())
	}
	d := discovery.NewDiscovery(discovery.Registry(reg()), discovery.EnableDiscovery(false), discovery.Interval(discovery.MinInterval), discovery.Logger(net.Logger))
	s := net.Server(rpctest.GRPC, "shop", server.Registry(d))
	if err := echo.RegisterEchoHandler(s, new(rpctest.Echo)); err != nil {
		t.Fatal(err)
	}
	stop := net.Start(s)
	r := router.NewRouter(selector.Registry(d), router.Standalone(), router.Logger(net.Logger), router.Server(net.Server(rpctest.GRPC, "caller")))
	c := rpc.NewClient(rpc.Config{Registry: d, Broker: net.Broker, Selector: r, Wrappers: []client.Wrapper{router.ClientWrapper(r)}})
	plain := rpc.NewClient(rpc.Config{Registry: reg(), Broker: net.Broker})
	store := kvconsul.NewKV(kv.Servers([]string{srv.Addr}))
	locks := syncconsul.NewSync(sync.Nodes(srv.Addr))
	conf := config.NewConfig(config.WithSource(configconsul.NewSource(config.SourceHosts(srv.Addr))))
	if err := store.Put(&kv.Item{Key: "config", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		c.Close()
		plain.Close()
		if err := errors.Join(r.Stop(), d.Stop(), store.Stop(), locks.Stop(), conf.Stop()); err != nil {
			t.Error(err)
		}
	}()
	_ = conf.Start() // there is no key yet; it watches for one

	ctx, cancel := context.WithCancel(t.Context())
	var work [4]atomic.Int64
	done := make(chan struct{})
	workers := 0
	loop := func(i int, do func() error) {
		workers++
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				if err := do(); err == nil {
					work[i].Add(1)
				} else if ctx.Err() == nil {
					t.Log(err)
				}
			}
		}()
	}
	for i := range 8 {
		loop(0, func() error { return store.Put(&kv.Item{Key: fmt.Sprint("key", i), Value: []byte("v")}) })
		loop(1, func() error {
			l, err := locks.Lock("job", sync.LockWait(30*time.Second))
			if err != nil {
				return err
			}
			if err := l.Acquire(sync.WithContext(ctx)); err != nil {
				return err
			}
			return l.Release()
		})
	}
	for i, caller := range []client.Client{c, plain} {
		svc := echo.NewEchoService("shop", caller)
		loop(2+i, func() error {
			<-time.After(5 * time.Millisecond)
			_, err := svc.Call(ctx, &echo.Request{}, client.WithRequestTimeout(5*time.Second))
			return err
		})
	}
	most := 0
	rpctest.Eventually(t, "all is in use", func() bool {
		most = max(most, established(t, srv.Addr))
		for i := range work {
			if work[i].Load() < 50 {
				return false
			}
		}
		return true
	})
	cancel()
	for range workers {
		<-done
	}
	t.Logf("%d connections at most; %d writes, %d locks, %d calls", most, work[0].Load(), work[1].Load(), work[2].Load())
	if most > 3 {
		t.Errorf("%d connections, more than 3", most)
	}
}
