package srv

import (
	"context"
	"strings"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/daemon"
)

const (
	announceTTL   = 90 * time.Second
	announceEvery = 30 * time.Second
)

// announce keeps the databases given by hand at the registry.
func (d *directory) announce(ctx context.Context, env *daemon.Env) {
	self, ok := address(ctx, env)
	if !ok {
		return
	}
	var all []*registry.Service
	for name, given := range d.conf.databases {
		all = append(all, given.toRegistry(name, env.Server.Options().Id, self))
	}
	ticker := time.NewTicker(announceEvery)
	defer ticker.Stop()
	failing := false
	for {
		var failed error
		for _, s := range all {
			if err := d.registry.Register(s, registry.RegisterTTL(announceTTL)); err != nil {
				failed = err
			}
		}
		if failed != nil && !failing {
			d.log.Warn("databases cannot be announced, will go on trying", "error", failed)
		}
		failing = failed != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, s := range all {
				_ = d.registry.Deregister(s) // else the lease ends it
			}
			return
		}
	}
}

// address waits until the server knows its port.
func address(ctx context.Context, env *daemon.Env) (string, bool) {
	if env.Advertise != "" {
		return env.Advertise, true
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if a := env.Server.Options().Address; a != "" && !strings.HasSuffix(a, ":0") {
			return a, true
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-ticker.C:
		}
	}
}
