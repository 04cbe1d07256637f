package srv

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// What is kept in memory.
const (
	maxLeases    = 50_000
	maxPerHost   = 10_000    // of these by the registrants of one host
	maxBytes     = 256 << 20 // of all leases
	maxGraves    = 10_000
	keepGraves   = time.Hour
	defaultTTL   = 90 * time.Second // of registrants that name neither
	ttlIntervals = 5
)

// leaseKey names one node of one version of a service.
type leaseKey struct{ service, version, node string }

// owner is the registrant that may speak for a lease.
type owner struct {
	key     []byte // of the registrant's secret; nil when it gave none
	host    string // of the peer that registered
	account string // of the caller, "" where nobody is asked for a token
}

// lease is a registered node. The service it points to has one node and is
// never written to: answers share it.
type lease struct {
	key      leaseKey
	service  *pb.Service
	owner    owner
	interval time.Duration // of its heartbeats, 0: there are none
	ttl      time.Duration
	renewed  time.Time // by the monotonic clock of this process
	beat     uint64    // of the last word of the registrant
	loss     float64   // of its heartbeats lately, 0 to 1
	changed  uint64    // the touch that changed more than renewed
	touched  uint64
	size     int
}

// grave remembers a node that left, so that older words of it do not bring it
// back and those who missed it leaving are told.
type grave struct {
	service *pb.Service
	beat    uint64
	touched uint64
	expired bool // it missed its heartbeats; else it was deregistered
	at      time.Time
}

// state is all leases.
type state struct {
	epoch string
	log   *slog.Logger
	gone  func(*lease) // a lease has expired here, or another took its place; must not block

	mu      sync.Mutex
	leases  map[leaseKey]*lease
	byName  map[string]map[leaseKey]*lease
	graves  map[leaseKey]grave
	hosts   map[string]int
	bytes   int
	touches uint64
	events  events
	preserve
}

func newState(log *slog.Logger) *state {
	return &state{
		epoch:  rand.Text(),
		log:    log,
		gone:   func(*lease) {},
		leases: make(map[leaseKey]*lease),
		byName: make(map[string]map[leaseKey]*lease),
		graves: make(map[leaseKey]grave),
		hosts:  make(map[string]int),
		events: newEvents(),
	}
}

// registration is one word of a registrant.
type registration struct {
	service  *pb.Service // valid; may have several nodes
	owner    owner
	interval time.Duration
	ttl      time.Duration
	beat     uint64
}

// register takes all nodes of the registration or none. It returns the
// revision that contains them.
func (s *state) register(r registration, now time.Time) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(now)
	fresh := make([]*lease, 0, len(r.service.Nodes))
	for _, n := range r.service.Nodes {
		l := newLease(r, n, now)
		if err := s.admit(l); err != nil {
			return 0, err
		}
		fresh = append(fresh, l)
	}
	if err := s.room(fresh); err != nil {
		return 0, err
	}
	for _, l := range fresh {
		// Whatever its clock says: this is the last word of the registrant.
		if old := s.leases[l.key]; old != nil {
			l.beat = max(l.beat, old.beat+1)
		}
		l.beat = max(l.beat, s.graves[l.key].beat+1)
		s.put(l)
		s.succeed(l, now)
	}
	return s.events.revision, nil
}

// succeed ends the leases that the registrant has on this node under other
// versions: it has come back as another.
func (s *state) succeed(l *lease, now time.Time) {
	for k, old := range s.byName[l.key.service] {
		if k.node == l.key.node && k != l.key && old.owner.is(l.owner) {
			s.bury(old, old.beat+1, false, now)
			s.gone(old)
		}
	}
}

func newLease(r registration, n *pb.Node, now time.Time) *lease {
	service := &pb.Service{
		Name: r.service.Name, Version: r.service.Version, Metadata: r.service.Metadata,
		Endpoints: r.service.Endpoints, Nodes: []*pb.Node{n},
	}
	l := &lease{
		key:     leaseKey{service.Name, service.Version, n.Id},
		service: service, owner: r.owner, interval: r.interval, ttl: r.ttl,
		renewed: now, beat: r.beat, size: proto.Size(service),
	}
	switch {
	case l.ttl == 0 && l.interval > 0:
		l.ttl = ttlIntervals * l.interval
	case l.ttl == 0:
		l.ttl = defaultTTL
	}
	if l.beat == 0 { // an old registrant: count for it
		l.beat = uint64(now.UnixNano())
	}
	return l
}

// admit reports whether the registrant may speak for the node.
func (s *state) admit(l *lease) error {
	old := s.leases[l.key]
	if old == nil {
		return nil
	}
	if !old.owner.is(l.owner) {
		return fmt.Errorf("node %s: %w: another registrant holds its lease", l.key.node, rpcerr.ErrForbidden)
	}
	return nil
}

// is reports whether other has shown to be o: by the secret when o gave one, else
// by its host, which is all that can be told of registrants without a secret.
func (o owner) is(other owner) bool {
	if o.account != other.account {
		return false
	}
	if o.key != nil {
		return subtle.ConstantTimeCompare(o.key, other.key) == 1
	}
	return o.host == other.host
}

// room reports whether the leases fit within the bounds.
func (s *state) room(fresh []*lease) error {
	leases, host, bytes := len(s.leases), 0, s.bytes
	for _, l := range fresh {
		bytes += l.size
		if old := s.leases[l.key]; old != nil {
			bytes -= old.size
			continue
		}
		leases++
		host++
	}
	name := fresh[0].owner.host
	switch {
	case host > 0 && leases > maxLeases:
		return fmt.Errorf("register: %w: %d nodes already", rpcerr.ErrLimited, len(s.leases))
	case host > 0 && s.hosts[name]+host > maxPerHost:
		return fmt.Errorf("register: %w: %d nodes of host %s already", rpcerr.ErrLimited, s.hosts[name], name)
	case bytes > maxBytes:
		return fmt.Errorf("register: %w: %d bytes already", rpcerr.ErrLimited, s.bytes)
	}
	return nil
}

// put makes l what is known of its node and tells the watchers unless nothing
// but the time changed.
func (s *state) put(l *lease) {
	s.touches++
	l.touched, l.changed = s.touches, s.touches
	old := s.leases[l.key]
	if old != nil {
		s.forget(old)
		s.back(old, l.renewed)
		l.loss = old.loss
	}
	s.leases[l.key] = l
	if s.byName[l.key.service] == nil {
		s.byName[l.key.service] = make(map[leaseKey]*lease)
	}
	s.byName[l.key.service][l.key] = l
	s.hosts[l.owner.host]++
	s.bytes += l.size
	delete(s.graves, l.key)
	switch {
	case old == nil:
		s.events.add("create", l.service)
	case !proto.Equal(old.service, l.service):
		s.events.add("update", l.service)
	case bytes.Equal(old.owner.key, l.owner.key) && old.interval == l.interval && old.ttl == l.ttl:
		l.changed = old.changed
	}
}

// forget takes the lease out of all indexes.
func (s *state) forget(l *lease) {
	delete(s.leases, l.key)
	delete(s.byName[l.key.service], l.key)
	if len(s.byName[l.key.service]) == 0 {
		delete(s.byName, l.key.service)
	}
	if s.hosts[l.owner.host]--; s.hosts[l.owner.host] == 0 {
		delete(s.hosts, l.owner.host)
	}
	s.bytes -= l.size
}

// bury ends a lease.
func (s *state) bury(l *lease, beat uint64, expired bool, now time.Time) {
	s.forget(l)
	s.touches++
	if len(s.graves) >= maxGraves {
		s.prune(now, keepGraves/60)
	}
	if len(s.graves) < maxGraves {
		s.graves[l.key] = grave{service: l.service, beat: beat, touched: s.touches, expired: expired, at: now}
	}
	s.events.add("delete", l.service)
}

func (s *state) prune(now time.Time, keep time.Duration) {
	for k, g := range s.graves {
		if now.Sub(g.at) > keep {
			delete(s.graves, k)
		}
	}
}

// deregister ends the leases of the service's nodes. A node that is not known
// is none of anybody's business.
func (s *state) deregister(service *pb.Service, by owner, beat uint64, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ending []*lease
	for _, n := range service.Nodes {
		l := s.leases[leaseKey{service.Name, service.Version, n.Id}]
		if l == nil {
			continue
		}
		if !l.owner.is(by) {
			return fmt.Errorf("node %s: %w: another registrant holds its lease", n.Id, rpcerr.ErrForbidden)
		}
		ending = append(ending, l)
	}
	for _, l := range ending {
		s.bury(l, max(beat, l.beat+1), false, now)
	}
	return nil
}

// The answers to a renewal.
type verdict int

const (
	renewed verdict = iota
	unknown
	refused
)

// renew takes a heartbeat.
func (s *state) renew(k leaseKey, by owner, beat uint64, now time.Time) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(now)
	l := s.leases[k]
	switch {
	case l == nil:
		return unknown
	case !l.owner.is(by):
		return refused
	}
	s.touch(l, beat, now)
	return renewed
}

// touch notes a heartbeat of that time.
func (s *state) touch(l *lease, beat uint64, at time.Time) {
	s.back(l, at)
	if l.interval > 0 {
		missed := max(math.Round(float64(at.Sub(l.renewed))/float64(l.interval))-1, 0)
		l.loss += (missed/(missed+1) - l.loss) / 4
	}
	s.touches++
	l.touched = s.touches
	l.beat = max(l.beat+1, beat)
	if at.After(l.renewed) {
		l.renewed = at
	}
}
