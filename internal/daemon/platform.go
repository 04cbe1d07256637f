package daemon

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/auth/certs"
	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpc"
)

// platformRegistry is discovery-srv as the registry of a service. It begins once
// the service has a token to show, or may do without.
type platformRegistry struct {
	discovery.Discovery
	client  *rpc.Client
	wrapper client.Wrapper // nil: no token
	joined  bool
}

func newPlatform(addresses []string, files *certs.Certificates, interval time.Duration, log *slog.Logger) *platformRegistry {
	c := rpc.Config{Registry: memreg.New()} // which looks nothing up
	if files != nil {
		c.Creds = files.Credentials()
	}
	p := &platformRegistry{client: rpc.NewClient(c)}
	p.Discovery = discovery.NewDiscovery(discovery.Addresses(addresses...), discovery.Client(p.client), discovery.Interval(interval),
		discovery.Logger(log), discovery.Wrap(func(c client.Client) client.Client { // not before the first call
			if p.wrapper == nil {
				return c
			}
			return p.wrapper(c)
		}))
	return p
}

// Stop implements discovery.Discovery.
func (p *platformRegistry) Stop() error {
	defer p.client.Close()
	return p.Discovery.Stop()
}

// Cache is for regcache.Of.
func (p *platformRegistry) Cache() *regcache.Cache { return regcache.Of(p.Discovery) }

// join begins the background work of a registry that is discovery-srv. The
// wrapper of the first call counts.
func (e *Env) join(w client.Wrapper) error {
	p, ok := e.Registry.(*platformRegistry)
	if !ok || p.joined {
		return nil
	}
	p.wrapper, p.joined = w, true
	return p.Start()
}

// addresses reads the value of a flag.
func addresses(flag, value string) ([]string, error) {
	if value == "" {
		return nil, nil
	}
	all := strings.Split(value, ",")
	for _, a := range all {
		if !rpc.IsAddress(a) {
			return nil, usageError{errors.New("--" + flag + ": want HOST:PORT,..., got " + value)}
		}
	}
	return all, nil
}
