package kv_test

import (
	"crypto/tls"
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
