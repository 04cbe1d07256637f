package daemon

import (
	"context"
	"net"

	"google.golang.org/grpc/peer"
)

// PeerHost returns the host that a call comes from, as its connection says, and
// "" where there is none.
func PeerHost(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}
