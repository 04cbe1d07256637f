package discovery_test

import (
	"crypto/tls"
	"testing"

	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestTLS(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	rpctest.Handshakes(t, srv.address, func(t *testing.T, addr string, c *tls.Config) error {
		return started(t, plugin(t, []string{addr}, discovery.TLS(c))).Register(shop("1"))
	})
}
