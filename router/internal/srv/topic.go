package srv

import (
	"context"
	"time"

	"github.com/micro/go-platform/internal/loss"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

// intake takes Stats from the topic, for plugins that know nothing else. Nobody
// can tell who published, so what comes this way is shown by Router.Stats, as
// long as the caller does not report by RPC, and moves no weight, no ejection
// and no share.
type intake struct {
	engine *engine
	bad    loss.Counter
}

// take never fails: what is dropped is counted, and logged by the service.
func (in *intake) take(_ context.Context, s *pb.Stats) error {
	if err := in.count(s); err != nil {
		in.bad.Add(1)
	}
	return nil
}

func (in *intake) count(s *pb.Stats) error {
	if err := checkStats(s); err != nil {
		return err
	}
	nodes := s.GetClient().GetNodes()
	if len(nodes) != 1 {
		return rpcerr.Invalid("client.nodes", "%d nodes: a report speaks for one", len(nodes))
	}
	c := &pb.Caller{Service: s.Client.Name, Node: nodes[0].GetId()}
	if err := checkCaller(c); err != nil {
		return err
	}
	return in.engine.reportTopic(identity{service: c.Service, node: c.Node}, s, time.Now())
}
