package srv

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/micro/go-platform/internal/page"
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

// maxRemoved bounds the ids of one message; each has up to 512 bytes.
const maxRemoved = 4096

// snapshot is the first messages of a stream.
func (r *revision) snapshot() []*pb.WatchResponse {
	all := parts(slices.Collect(maps.Values(r.nodes)), nil)
	for _, w := range all {
		w.Previous, w.Revision = r.number, r.number
	}
	all[0].Snapshot, all[0].Previous = true, 0
	return all
}

// since is what a reader of old must be told. It has the revision when it has heard
// the last part.
func (r *revision) since(old *revision) []*pb.WatchResponse {
	var set []*pb.NotReady
	var removed []string
	for id, n := range r.nodes {
		if old.nodes[id] != n {
			set = append(set, n)
		}
	}
	for id := range old.nodes {
		if r.nodes[id] == nil {
			removed = append(removed, id)
		}
	}
	all := parts(set, removed)
	for _, w := range all {
		w.Previous, w.Revision = old.number, old.number
	}
	all[len(all)-1].Revision = r.number
	return all
}

// parts returns messages that a default client takes, at least one.
func parts(set []*pb.NotReady, removed []string) (all []*pb.WatchResponse) {
	for len(set) > 0 {
		n := page.Fit(set, len(set))
		all, set = append(all, &pb.WatchResponse{Set: set[:n]}), set[n:]
	}
	for some := range slices.Chunk(removed, maxRemoved) {
		all = append(all, &pb.WatchResponse{Removed: some})
	}
	if len(all) == 0 {
		all = append(all, &pb.WatchResponse{})
	}
	return all
}
