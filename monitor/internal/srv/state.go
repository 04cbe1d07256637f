package srv

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/monitor/proto"
)

// What is kept in memory.
const (
	maxNodes      = 10_000
	maxTopicNodes = 1_000 // of these known by topics alone, where anybody can publish
	missed        = 3     // silent intervals until a node is UNKNOWN
	forgetAfter   = time.Hour
)

// node is what is known of one node. Messages it points to are never written
// to: they are replaced, so that answers may share them.
type node struct {
	service     *pb.Service
	incarnation string // "": known by topic or from the database
	topic       bool   // known by topic alone
	by          string // who reports, see reporter
	seq         uint64
	statusSeq   uint64
	statsSeq    uint64
	status      pb.Status_Status
	current     *pb.Status
	checks      map[string]*pb.HealthCheck
	notReady    []string
	stats       *pb.Stats
	interval    time.Duration
	heard       time.Time // by the monotonic clock of this process
}

func (n *node) id() string { return n.service.Nodes[0].Id }

// silent reports whether the node missed three reports.
func (n *node) silent(now time.Time) bool { return now.Sub(n.heard) > missed*n.interval }

// state is how everything is now.
type state struct {
	record  func(change) // a transition; must not block
	routing routing

	mu     sync.Mutex
	nodes  map[string]*node // by node id
	topics int              // nodes that only topics know
}

func newState(record func(change)) *state {
	return &state{record: record, routing: newRouting(), nodes: make(map[string]*node)}
}

// restore brings back what was known before a restart. A node that does not
// report now becomes UNKNOWN like any other.
func (s *state) restore(known []*pb.Status, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range known {
		n := s.add(k.Service, now)
		n.current, n.status = k, k.Status
	}
}

// add makes a node. The caller holds the mutex and checked for room.
func (s *state) add(service *pb.Service, now time.Time) *node {
	n := &node{service: service, checks: make(map[string]*pb.HealthCheck), interval: time.Minute, heard: now}
	s.nodes[n.id()] = n
	return n
}

// report takes a valid report that a caller made.
func (s *state) report(r *pb.ReportRequest, by string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.sender(r, by, now)
	if err != nil {
		return err
	}
	n.interval, n.heard = time.Duration(r.IntervalMs)*time.Millisecond, now
	for _, st := range r.Statuses {
		if st.Seq > n.statusSeq {
			n.statusSeq = st.Seq
			s.transit(n, st.Status, "", now)
		}
	}
	for _, st := range r.Stats {
		if st.Seq > n.statsSeq {
			st.Service = n.service
			n.statsSeq, n.stats = st.Seq, st
		}
	}
	if r.Seq <= n.seq {
		return nil // overtaken by a later one
	}
	n.seq, n.service = r.Seq, r.Service
	r.Current.Service = r.Service
	n.current, n.notReady, n.statusSeq = r.Current, r.NotReady, max(n.statusSeq, r.Current.Seq)
	s.transit(n, r.Current.Status, strings.Join(r.NotReady, ", "), now)
	s.checks(n, r.Checks, now)
	s.routing.set(n)
	return nil
}

// sender returns the node that a report speaks for. As long as one process
// reports for a node no other caller may.
func (s *state) sender(r *pb.ReportRequest, by string, now time.Time) (*node, error) {
	id := r.Service.Nodes[0].Id
	n := s.nodes[id]
	if n == nil {
		if len(s.nodes) >= maxNodes {
			return nil, fmt.Errorf("node %s: %w: %d nodes already", id, rpcerr.ErrLimited, maxNodes)
		}
		n = s.add(r.Service, now)
	}
	if n.incarnation == r.Incarnation {
		return n, nil
	}
	alive := n.incarnation != "" && n.status != pb.Status_STOPPED && !n.silent(now)
	if alive && n.by != by {
		return nil, fmt.Errorf("node %s: %w: another process reports for it", id, rpcerr.ErrExists)
	}
	s.known(n)
	n.incarnation, n.by = r.Incarnation, by
	n.seq, n.statusSeq, n.statsSeq = 0, 0, 0
	return n, nil
}

// known takes the node off those that only topics know.
func (s *state) known(n *node) {
	if n.topic {
		n.topic = false
		s.topics--
	}
}

// transit notes a change of the node's status.
func (s *state) transit(n *node, to pb.Status_Status, detail string, now time.Time) {
	if n.status == to {
		return
	}
	s.record(change{node: n.service, transition: &pb.Transition{
		TimestampMs: now.UnixMilli(), Service: n.service.Name, Node: n.id(),
		From: n.status.String(), To: to.String(), Detail: detail,
	}})
	n.status = to
}

// checks replaces the node's checks and notes what changed.
func (s *state) checks(n *node, reported []*pb.HealthCheck, now time.Time) {
	fresh := make(map[string]*pb.HealthCheck, len(reported))
	for _, c := range reported {
		s.check(n, c, now)
		fresh[c.Id] = c
	}
	n.checks = fresh
}

func (s *state) check(n *node, c *pb.HealthCheck, now time.Time) {
	c.Service = n.service
	was := pb.HealthCheck_UNKNOWN
	if old := n.checks[c.Id]; old != nil {
		was = old.Status
	}
	if was == c.Status {
		return
	}
	s.record(change{transition: &pb.Transition{
		TimestampMs: now.UnixMilli(), Service: n.service.Name, Node: n.id(), Check: c.Id,
		From: was.String(), To: c.Status.String(), Detail: c.Error,
	}})
}

// sweep makes silent nodes UNKNOWN, gives them back to routing, and forgets
// those that are gone for long.
func (s *state) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.nodes {
		if !n.silent(now) {
			continue
		}
		s.routing.clear(n)
		if n.status != pb.Status_STOPPED {
			s.transit(n, pb.Status_UNKNOWN, fmt.Sprintf("no report for %v", now.Sub(n.heard).Round(time.Millisecond)), now)
		}
		if now.Sub(n.heard) > forgetAfter+missed*n.interval {
			delete(s.nodes, id)
			s.known(n)
		}
	}
}

// sorted returns copies of the nodes that match, ordered by id. Empty names
// match all.
func (s *state) sorted(service, id string) []node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []node
	for _, n := range s.nodes {
		if (service == "" || n.service.Name == service) && (id == "" || n.id() == id) {
			copied := *n
			copied.checks = maps.Clone(n.checks)
			found = append(found, copied)
		}
	}
	slices.SortFunc(found, func(a, b node) int { return strings.Compare(a.id(), b.id()) })
	return found
}
