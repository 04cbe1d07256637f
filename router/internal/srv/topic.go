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
	holds  func(ctx context.Context, service string) error // see daemon.Env.Holds
}

// take never fails: what is dropped is counted, and logged by the service.
func (in *intake) take(ctx context.Context, s *pb.Stats) error {
	err := in.holds(ctx, s.GetClient().GetName())
	if err == nil {
		err = in.count(s)
	}
	if err != nil {
		in.bad.Add(1)
	}
	return nil
}

// original fills in what the original's clients say elsewhere: the node that was
// called is in the service.
func original(s *pb.Stats) {
	for _, sel := range s.GetSelected() {
		if sel.GetNode() != nil {
			continue
		}
		from := sel.GetService()
		if len(from.GetNodes()) == 0 {
			from = s.GetService()
		}
		if len(from.GetNodes()) == 1 {
			sel.Node = &pb.Node{Id: from.Nodes[0].GetId()}
			sel.Service = &pb.Service{Name: from.Name, Version: from.Version}
		}
	}
}

func (in *intake) count(s *pb.Stats) error {
	original(s)
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
