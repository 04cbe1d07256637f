package srv

import (
	"maps"
	"slices"
	"sync/atomic"

	pb "github.com/micro/go-platform/monitor/proto"
)

// routing is the nodes that are not ready, by their own word and told by RPC.
type routing struct{ now *atomic.Pointer[revision] }

// revision is one immutable set.
type revision struct {
	number  uint64
	nodes   map[string]*pb.NotReady // by node id
	changed chan struct{}           // closed when there is a newer one
}

func newRouting() routing {
	r := routing{new(atomic.Pointer[revision])}
	r.now.Store(&revision{number: 1, changed: make(chan struct{})})
	return r
}

// set takes the node in or out, by its reasons. The caller holds the state's
// mutex, as for clear.
func (r routing) set(n *node) {
	if len(n.notReady) == 0 {
		r.clear(n)
		return
	}
	now := r.now.Load()
	if old := now.nodes[n.id()]; old != nil && slices.Equal(old.Reasons, n.notReady) {
		return
	}
	fresh := maps.Clone(now.nodes)
	if fresh == nil {
		fresh = make(map[string]*pb.NotReady)
	}
	fresh[n.id()] = &pb.NotReady{Service: n.service.Name, Node: n.id(), Reasons: n.notReady}
	r.replace(now, fresh)
}

func (r routing) clear(n *node) {
	now := r.now.Load()
	if now.nodes[n.id()] == nil {
		return
	}
	fresh := maps.Clone(now.nodes)
	delete(fresh, n.id())
	r.replace(now, fresh)
}

func (r routing) replace(old *revision, nodes map[string]*pb.NotReady) {
	r.now.Store(&revision{number: old.number + 1, nodes: nodes, changed: make(chan struct{})})
	close(old.changed)
}

// snapshot is the first message of a stream.
func (r *revision) snapshot() *pb.WatchResponse {
	return &pb.WatchResponse{Snapshot: true, Revision: r.number, Set: slices.Collect(maps.Values(r.nodes))}
}

// since is what a reader of old must be told.
func (r *revision) since(old *revision) *pb.WatchResponse {
	w := &pb.WatchResponse{Previous: old.number, Revision: r.number}
	for id, n := range r.nodes {
		if old.nodes[id] != n {
			w.Set = append(w.Set, n)
		}
	}
	for id := range old.nodes {
		if r.nodes[id] == nil {
			w.Removed = append(w.Removed, id)
		}
	}
	return w
}
