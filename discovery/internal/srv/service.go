// Package srv is go.micro.srv.discovery: it keeps the leases of nodes in
// memory, ends those that miss their heartbeats, streams what changes, and
// shares its leases with other discovery-srvs.
package srv

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/regcache"
)

// Settings are what the flags of the service say.
type Settings struct {
	Role   string   // "both" unless given
	Peers  []string // "host:port" of the discovery-srvs to follow
	Secret string   // of the cluster
}

// Service returns the service for daemon.Main and daemon.Start.
func Service() daemon.Service { return NewService(Settings{}) }

// NewService returns the service with other defaults of its flags.
func NewService(set Settings) daemon.Service {
	state := newState(slog.Default())
	peers := strings.Join(set.Peers, ",")
	if set.Role == "" {
		set.Role = roleBoth
	}
	text := func(name, usage string, to *string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: *to, Usage: usage, Destination: to, EnvVars: []string{"MICRO_" + strings.ToUpper(name)}}
	}
	return daemon.Service{
		Name:  discovery.ServiceName,
		Usage: "keeps the leases of all services; the registry itself unless --registry names another",
		Flags: []cli.Flag{
			text("role", "write, read (a replica that takes no registrations) or both", &set.Role),
			text("peers", "`HOST:PORT,...` of the discovery-srvs to follow; a read replica needs a write node among them", &peers),
			text("cluster_secret", "what peers must show to be told of leases; the same for all", &set.Secret),
		},
		Registry: func() registry.Registry { return newLocal(state) },
		Check: func(*daemon.Env) error {
			if peers != "" {
				set.Peers = strings.Split(peers, ",")
			}
			return set.validate()
		},
		Start: func(_ context.Context, env *daemon.Env) error { return start(env, state, set) },
	}
}

func (set Settings) validate() error {
	switch set.Role {
	case roleBoth, roleWrite:
	case roleRead:
		if len(set.Peers) == 0 {
			return fmt.Errorf("--role %s: --peers must name a write node", set.Role)
		}
	default:
		return fmt.Errorf("--role %q: want write, read or both", set.Role)
	}
	if len(set.Peers) > 16 {
		return fmt.Errorf("--peers: %d, more than 16", len(set.Peers))
	}
	return nil
}

func start(env *daemon.Env, state *state, set Settings) error {
	state.log = env.Logger
	n := &node{state: state, role: set.Role, secret: set.Secret, done: env.Done, holds: env.Holds}
	judged := judging{callers: env.CallersCanRenew, judges: n.judges, state: state}
	group := &lifecycle.Group{}
	loops := []func(context.Context){func(ctx context.Context) { state.sweeps(ctx, judged.now) }}
	for _, address := range set.Peers {
		f := &follower{node: n, address: address, client: env.Client, log: env.Logger}
		n.peers = append(n.peers, f)
		loops = append(loops, f.run)
	}
	if n.writes() {
		queue := announcer(env)
		env.OnStop(func(context.Context) error { _ = queue.Stop(); return nil }) // they are best effort
		if err := queue.Start(); err != nil {
			return err
		}
		loops = append(loops, func(ctx context.Context) { state.announce(ctx, queue) })
	}
	if _, standalone := env.Registry.(*local); !standalone {
		u, err := n.besides(env)
		if err != nil {
			return err
		}
		loops = append(loops, u.watch)
	}
	env.OnStop(func(context.Context) error { return group.Stop(lifecycle.FlushTimeout) })
	if err := n.handle(env); err != nil {
		return err
	}
	return group.Start(loops...)
}

// besides makes what another registry knows part of the answers, and lets it
// know which nodes are dead.
func (n *node) besides(env *daemon.Env) (*undertaker, error) {
	n.outer = regcache.New(env.Registry, regcache.Logger(env.Logger))
	env.OnStop(func(context.Context) error { return n.outer.Stop() })
	if err := n.outer.Start(); err != nil {
		return nil, err
	}
	u := n.undertaker(env)
	env.OnStop(func(context.Context) error { return u.queue.Stop() })
	n.state.gone = u.gone
	return u, u.queue.Start()
}

func (n *node) handle(env *daemon.Env) error {
	watchers := daemon.NewStreams(maxWatchers)
	if err := pb.RegisterRegistryHandler(env.Server, &registryHandler{n, watchers}); err != nil {
		return err
	}
	if err := pb.RegisterDiscoveryHandler(env.Server, &discoveryHandler{n, watchers}); err != nil {
		return err
	}
	return n.subscribe(env.Server)
}
