package kv_test

import (
	"context"
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
)

func mutual(tb testing.TB) *tls.Config {
	ca := rpctest.NewAuthority(tb)
	return &tls.Config{
		Certificates: []tls.Certificate{ca.Pair("127.0.0.1", time.Now().Add(time.Hour))},
		RootCAs:      ca.Pool(), ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// secured returns a server that is not started, and a client for it.
func (c *cluster) secured(config *tls.Config) (server.Server, client.Client, kv.Option) {
	if c.stack == rpctest.RPC { // members get a server of their own
		return c.net.Server(c.stack, "shop"), c.net.Client(c.stack), kv.TLS(config)
	}
	cl := rpc.NewClient(rpc.Config{Registry: c.net.Registry, Broker: c.net.Broker, TLS: config})
	c.tb.Cleanup(cl.Close)
	return c.net.Server(c.stack, "shop", mgrpc.AuthTLS(config)), cl, kv.TLS(config)
}

// front is a client that reaches the member at one address at another.
type front struct {
	client.Client
	at string
}

func (f *front) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return f.Client.Call(ctx, req, rsp, append(slices.Clip(opts), client.WithAddress(f.at))...)
}

func (f *front) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return f.Client.Stream(ctx, req, append(slices.Clip(opts), client.WithAddress(f.at))...)
}

// A member that joins reaches another only by the right handshake. Its own server is
// the user's, which has a configuration of its own.
func TestHandshakes(t *testing.T) {
	c := newCluster(t, rpctest.GRPC)
	old := c.members(1)[0]
	put(t, old, 1)
	found, err := c.net.Registry.GetService("shop")
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	rpctest.Handshakes(t, found[0].Nodes[0].Address, func(t *testing.T, addr string, config *tls.Config) error {
		cl := c.net.Client(rpctest.RPC)
		if err := cl.Init(client.Wrap(func(inner client.Client) client.Client { return &front{inner, addr} })); err != nil {
			t.Fatal(err)
		}
		k := kv.NewKV(kv.Server(c.net.Server(rpctest.GRPC, "shop")), kv.Client(cl),
			kv.TLS(config), kv.Suspicion(time.Second), kv.Timeout(2*time.Second), kv.Logger(c.net.Logger))
		defer func() {
			if err := k.Stop(); err != nil {
				t.Error(err)
			}
		}()
		_, err := k.Get("key0")
		return err
	})
}

// Members of one authority serve each other; a node with a certificate of another
// neither joins nor reads.
func TestTLS(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		c := newCluster(t, stack)
		ours := mutual(t)
		var all []*member
		for range 3 {
			s, cl, secure := c.secured(ours)
			all = append(all, c.memberOn(s, kv.Client(cl), secure))
		}
		for _, m := range all {
			kv.AwaitStable(t, m.KV, 3)
		}
		put(t, all[0], 50)
		have(t, all[1], 50)

		s, cl, secure := c.secured(mutual(t))
		stranger := c.memberOn(s, kv.Client(cl), secure)
		if item, err := stranger.Get("key1"); err == nil {
			t.Errorf("a stranger read %+v", item)
		}
		// What it writes stays with itself.
		if err := stranger.Put(&kv.Item{Key: "key1", Value: []byte("bad")}); err != nil {
			t.Logf("put: %v", err)
		}
		for _, m := range all {
			kv.AwaitStable(t, m.KV, 3)
			have(t, m, 50)
		}
		put(t, all[2], 60)
		have(t, all[0], 60)
	})
}
