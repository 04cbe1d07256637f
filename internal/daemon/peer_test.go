package daemon_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/peer"

	"github.com/micro/go-platform/internal/daemon"
)

func TestPeerHost(t *testing.T) {
	from := func(a net.Addr) context.Context { return peer.NewContext(context.Background(), &peer.Peer{Addr: a}) }
	for want, ctx := range map[string]context.Context{
		"":          context.Background(),
		"192.0.2.1": from(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}),
		"::1":       from(&net.TCPAddr{IP: net.IPv6loopback, Port: 1}),
		"bufconn":   from(&net.UnixAddr{Name: "bufconn", Net: "unix"}),
	} {
		if got := daemon.PeerHost(ctx); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
