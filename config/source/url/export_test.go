package url

import (
	"context"
	"net"
	"net/http"
	"syscall"

	"github.com/micro/go-platform/config"
)

// AllowFirst takes the first address that s dials for a public one.
func AllowFirst(s config.Source) config.Source {
	first, check := true, onlyPublic()
	d := &net.Dialer{Control: func(network, address string, c syscall.RawConn) error {
		if first {
			first = false
			return nil
		}
		return check(network, address, c)
	}}
	s.(*source).client.Transport.(*http.Transport).DialContext = d.DialContext
	return s
}

// Resolve makes every name that s dials resolve to one address, as a resolver in
// the hands of an attacker may at any moment. The dialer is that of NewSource.
func Resolve(s config.Source, address string) config.Source {
	transport := s.(*source).client.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
	return s
}
