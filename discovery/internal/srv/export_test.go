package srv

import (
	"log/slog"
	"net/netip"
	"time"

	"go-micro.dev/v6/registry"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/daemon"
)

// State is state for tests that bring their own time.
type State struct{ *state }

func NewState(log *slog.Logger) State { return State{newState(log)} }

// Register registers one node with heartbeats at the interval.
func (s State) Register(service, node, secret string, interval time.Duration, beat uint64, now time.Time) error {
	o := owner{host: "127.0.0.1"}
	if secret != "" {
		o.key = pb.Key(secret)
	}
	w := ids(leaseKey{service, "v1", node})
	_, err := s.register(registration{service: w, owner: o, interval: interval, beat: beat}, now)
	return err
}

// Renew reports whether the lease is there and the secret's.
func (s State) Renew(service, node, secret string, beat uint64, now time.Time) bool {
	return s.renew(leaseKey{service, "v1", node}, owner{host: "127.0.0.1", key: pb.Key(secret)}, beat, now) == renewed
}

func (s State) Deregister(service, node, secret string, now time.Time) error {
	return s.deregister(ids(leaseKey{service, "v1", node}), owner{host: "127.0.0.1", key: pb.Key(secret)}, 0, now)
}

func (s State) Sweep(now time.Time) { s.sweep(now) }

// Sweeper returns a sweep that spares everybody while auth-srv is out of reach.
func (s State) Sweeper(reached *bool) func(now time.Time) {
	j := judging{callers: func() bool { return *reached }, judges: func() bool { return true }, state: s.state}
	return func(now time.Time) {
		if j.now(now) {
			s.sweep(now)
		}
	}
}

func (s State) Len() int { return len(s.leases) }

func (s State) Preserving() bool { return s.preserving }

// Follow takes what the other has touched after the cursor, as a write node
// does or as a read replica.
func (s State) Follow(from State, cursor uint64, replica bool, now time.Time) (next uint64, whole bool) {
	records, next := from.since(cursor)
	whole = true
	for _, r := range records {
		whole = s.merge(r, replica, now) && whole
	}
	return next, whole
}

// Bury has nodes of a service, whose leases with this secret ended, removed from a
// registry, and returns what ends that.
func Bury(r registry.Registry, log *slog.Logger, service, secret string, nodes ...string) (stop func() error, err error) {
	u := (&node{state: newState(log)}).undertaker(&daemon.Env{Config: daemon.Config{Registry: r, Logger: log}})
	for _, id := range nodes {
		u.gone(&lease{key: leaseKey{service, "v1", id}, owner: owner{key: pb.Key(secret)}})
	}
	return u.queue.Stop, u.queue.Start()
}

// Since returns the actions after a revision.
func (s State) Since(revision uint64) (actions []string, ok bool) {
	results, ok := s.events.since(revision)
	for _, r := range results {
		actions = append(actions, r.Action+" "+r.Service.Nodes[0].Id)
	}
	return actions, ok
}

// CheckService is the check of a registration that comes from that host.
func CheckService(s *pb.Service, peer string) error {
	return checkService(s, netip.MustParseAddr(peer))
}

const (
	MaxLeases  = maxLeases
	MaxPerHost = maxPerHost
	MaxEvents  = maxEvents
)
