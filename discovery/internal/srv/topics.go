package srv

import (
	"context"
	"crypto/subtle"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/daemon"
)

// subscribe takes the heartbeats that come by topic while their sender cannot
// reach this service by RPC.
func (n *node) subscribe(s server.Server) error {
	return s.Subscribe(s.NewSubscriber(discovery.HeartbeatTopic, n.heard))
}

// heard renews a lease. Anybody can publish, so the heartbeat has to prove that
// it knows the key of the lease, and that it is not an older one sent again. A
// lease that was registered without a secret believes any: so do the plugins
// that know no secrets.
func (n *node) heard(_ context.Context, h *pb.Heartbeat) error {
	if len(h.GetService().GetNodes()) != 1 || !n.writes() {
		return nil
	}
	k := leaseKey{h.Service.Name, h.Service.Version, h.Service.Nodes[0].GetId()}
	s := n.state
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(now)
	l := s.leases[k]
	if l == nil {
		return nil // it registers by RPC, or never
	}
	if l.owner.key != nil {
		proof := pb.Proof(l.owner.key, k.service, k.version, k.node, h.Beat)
		if h.Beat <= l.beat || subtle.ConstantTimeCompare(proof, h.Proof) != 1 {
			return nil
		}
	}
	s.touch(l, h.Beat, now)
	return nil
}

// announcer publishes changes for those who know nothing but the topic.
func announcer(env *daemon.Env) *batch.Queue[*pb.Result] {
	return batch.New(batch.Config[*pb.Result]{
		Name: "announcements", Size: 100, Interval: 100 * time.Millisecond, Logger: env.Logger,
		Send: func(ctx context.Context, results []*pb.Result) error {
			for _, r := range results {
				msg := env.Client.NewMessage(discovery.WatchTopic, r, client.WithMessageContentType("application/protobuf"))
				_ = env.Client.Publish(ctx, msg) // best effort, and never twice
			}
			return nil
		},
	})
}

// announce hands every change to the queue.
func (s *state) announce(ctx context.Context, queue *batch.Queue[*pb.Result]) {
	v := s.begin(&pb.WatchRequest{})
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.changed:
		}
		v = s.next(v.revision)
		for _, r := range v.results {
			_ = queue.Add(r) // refused is counted and logged
		}
	}
}
