package e2e_test

import (
	"crypto/tls"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"
	"go-micro.dev/v6/transport"

	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// A user's services on either stack trust the authority that they were told, and
// nobody else: a client that is told of none verifies, too.
func TestTLS(t *testing.T) {
	ca := rpctest.NewAuthority(t)
	serving := &tls.Config{Certificates: []tls.Certificate{ca.Pair("127.0.0.1", time.Now().Add(time.Hour))}, MinVersion: tls.VersionTLS12}
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		net := rpctest.New(t)
		net.Serve(stack, "shop", overTLS(stack, serving))
		for _, test := range []struct {
			name   string
			config *tls.Config
			trusts bool
		}{
			{"the authority", &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}, true},
			{"another authority", &tls.Config{RootCAs: rpctest.NewAuthority(t).Pool(), MinVersion: tls.VersionTLS12}, false},
			{"no authority", &tls.Config{MinVersion: tls.VersionTLS12}, false},
		} {
			c := trusting(t, net, stack, test.config)
			_, err := echo.NewEchoService("shop", c).Call(t.Context(), &echo.Request{Text: "hi"})
			if (err == nil) != test.trusts && !rpctest.Lost(stack, err) {
				t.Errorf("a client that trusts %s: %v", test.name, err)
			}
		}
	})
}

func overTLS(stack string, config *tls.Config) server.Option {
	if stack == rpctest.GRPC {
		return mgrpc.AuthTLS(config)
	}
	return server.Transport(transport.NewHTTPTransport(transport.TLSConfig(config.Clone())))
}

func trusting(t *testing.T, net *rpctest.Net, stack string, config *tls.Config) client.Client {
	if stack == rpctest.GRPC {
		c := rpc.NewClient(rpc.Config{Registry: net.Registry, Broker: net.Broker, TLS: config})
		t.Cleanup(c.Close)
		return c
	}
	sel := selector.NewSelector(selector.Registry(net.Registry))
	t.Cleanup(func() { _ = sel.Close() })
	return client.NewClient(client.Selector(sel), client.Registry(net.Registry), client.Broker(net.Broker),
		client.Transport(transport.NewHTTPTransport(transport.TLSConfig(config))), client.ContentType("application/protobuf"))
}
