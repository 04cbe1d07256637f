package discovery_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// atFirstWatch has something happen right before the first watcher connects.
type atFirstWatch struct {
	client.Client
	once *sync.Once
	do   func()
}

func (c atFirstWatch) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	c.once.Do(c.do)
	return c.Client.Stream(ctx, req, opts...)
}

// A node that leaves after the cache heard of it and before the cache's first
// watcher is there has left all the same.
func TestTombstonesBeforeTheFirstWatcher(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	owner := started(t, plugin(t, []string{srv.address}))
	leave := func() {
		if err := owner.Deregister(shop("1")); err != nil {
			t.Error(err)
		}
	}
	read := func(t *testing.T, d discovery.Discovery) {
		t.Helper()
		if got := found(d, "shop"); !slices.Equal(got, []string{"1"}) {
			t.Errorf("nodes %v", got)
		}
	}
	for name, test := range map[string]func(t *testing.T) discovery.Discovery{
		"read before Start": func(t *testing.T) discovery.Discovery {
			d := plugin(t, []string{srv.address})
			read(t, d)
			leave()
			return started(t, d)
		},
		"read while it connects": func(t *testing.T) discovery.Discovery {
			var d discovery.Discovery
			hook := atFirstWatch{once: &sync.Once{}, do: func() { read(t, d); leave() }}
			d = plugin(t, []string{srv.address}, discovery.Wrap(func(c client.Client) client.Client {
				hook.Client = c
				return hook
			}))
			return started(t, d)
		},
		"read from a file": func(t *testing.T) discovery.Discovery {
			file := discovery.SnapshotFile(t.TempDir() + "/registry.json")
			before := started(t, plugin(t, []string{srv.address}, file))
			read(t, before)
			if err := before.Stop(); err != nil {
				t.Fatal(err)
			}
			leave()
			return started(t, plugin(t, []string{srv.address}, file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			register(t, owner, shop("1"))
			d := test(t)
			rpctest.Eventually(t, "the node is gone", func() bool {
				_, err := d.GetService("shop")
				return errors.Is(err, registry.ErrNotFound)
			})
		})
	}
}
