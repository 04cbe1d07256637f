package srv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/regcache"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The parts a discovery-srv plays.
const (
	roleBoth  = "both"
	roleWrite = "write"
	roleRead  = "read"
)

// node is one discovery-srv.
type node struct {
	state  *state
	role   string
	secret string // of the cluster
	peers  []*follower
	outer  *regcache.Cache // of the registry beside this one; nil when standalone
	done   <-chan struct{}
	// holds returns an error unless the caller may register a name.
	holds func(ctx context.Context, name string) error
}

func (n *node) writes() bool { return n.role != roleRead }

// judges reports whether missed heartbeats count. A read replica hears of them
// from a write node.
func (n *node) judges() bool {
	if n.writes() {
		return true
	}
	for _, p := range n.peers {
		if p.connected.Load() {
			return true
		}
	}
	return false
}

// follower follows another discovery-srv.
type follower struct {
	node      *node
	address   string
	client    client.Client
	log       *slog.Logger
	connected atomic.Bool
}

// run is the loop of one peer.
func (f *follower) run(ctx context.Context) {
	wait := backoff.Backoff{Max: 2 * time.Second}
	silent := false
	for ctx.Err() == nil {
		err := f.follow(ctx)
		heard := f.connected.Swap(false)
		if heard {
			wait.Reset()
			silent = false
		}
		// A stream that ended with its token is opened with the next one.
		if ended := heard && errors.Is(err, rpcerr.ErrUnauthenticated); ctx.Err() == nil && !ended && !silent {
			f.log.Warn("cannot follow a peer, will retry", "peer", f.address, "error", err)
			silent = true
		}
		_ = wait.Wait(ctx) // the loop ends with ctx
	}
}

// follow reads one stream to its end.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const patience = 3*lifeSign + time.Second
	dead := time.AfterFunc(patience, cancel) // a peer that hangs
	defer dead.Stop()
	stream, err := pb.NewRegistryService(discovery.ServiceName, f.client).Replicate(ctx,
		&pb.ReplicateRequest{Node: f.node.state.epoch, Secret: f.node.secret},
		client.WithAddress(f.address), client.WithDialTimeout(2*time.Second))
	if err != nil {
		return rpcerr.From(ctx, "follow "+f.address, err)
	}
	defer func() { _ = stream.Close() }() // it only says that the stream is over
	for {
		got, err := stream.Recv()
		if err != nil {
			return rpcerr.From(ctx, "follow "+f.address, err)
		}
		if got.Epoch == f.node.state.epoch {
			return fmt.Errorf("follow %s: that is this process itself: %w", f.address, rpcerr.ErrInvalid)
		}
		dead.Reset(patience)
		if !f.take(got) {
			return fmt.Errorf("follow %s: a lease was missed", f.address)
		}
	}
}

// take returns false when it has to begin again.
func (f *follower) take(got *pb.ReplicateResponse) bool {
	now := time.Now()
	whole := true
	for _, r := range got.Records {
		whole = f.node.state.merge(r, !f.node.writes(), now) && whole
	}
	if !got.Complete || f.connected.Load() {
		return whole
	}
	if !f.node.writes() && !f.node.judges() {
		f.node.state.grant(now, 0) // nobody told of heartbeats until now
	}
	f.connected.Store(true)
	f.log.Info("following a peer", "peer", f.address)
	return whole
}
