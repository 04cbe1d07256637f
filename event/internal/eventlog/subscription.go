package eventlog

import (
	"container/heap"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

const (
	window      = 4096     // records of one subscription that are read and not settled
	windowBytes = 32 << 20 // of their data
	maxMembers  = 1024
	// grace is how long a member whose connection broke may take to come back.
	grace = 5 * time.Second
)

// subscription is a durable subscription: a cursor, the records before it that
// are not settled, and the members that share them. Only the cursor and the
// sequences of the unsettled records are kept on disk.
type subscription struct {
	log  *Log
	name string
	wake chan struct{}

	mu      sync.Mutex
	conf    *pb.Subscription
	filter  plugin.Filter       // of all members and wants
	united  int                 // how often the filter was set
	kept    int                 // up to which of these the types are on disk
	wants   []want              // of members that are gone
	empty   time.Time           // since when no member is connected, if none is
	waiting int                 // how many of the ready no member with room named
	next    uint64              // everything up to here was read
	reread  []uint64            // unsettled by the saved state, not read again yet
	tries   map[uint64]int32    // theirs
	claims  map[uint64]string   // what members said to handle before it was read again
	early   map[uint64]struct{} // acknowledged before they were read again
	items   map[uint64]*item    // read and not settled
	bytes   int                 // of the items
	ready   sequences           // to be delivered
	lone    sequences           // to be delivered, each alone
	timed   deadlines           // leases and delays
	keys    map[string][]*item  // the unsettled of a key in order, when ordered
	members map[string]*Member
	dying   []*item // to be made dead letters
	running bool    // the dispatcher is there
	removed bool
	stats   stats
}

type stats struct{ delivered, redelivered, dead, skipped uint64 }

type phase uint8

const (
	blocked phase = iota // behind another of its key
	ready
	leased
	delayed
	dying
)

// item is an unsettled record.
type item struct {
	record *pb.Record
	phase  phase
	try    int32 // the newest
	spared int32 // of the tries, those that do not count against MaxTries
	alone  bool  // it was lost among others: the next try shows whether it is to blame
	holder *Member
	due    time.Time // when the lease or the delay ends
	place  int       // among the deadlines
	reason string    // of the last failure
}

func newSubscription(l *Log, conf *pb.Subscription, next uint64) (*subscription, error) {
	s := &subscription{
		log: l, name: conf.Name, next: next, empty: time.Now(), united: 1,
		wake:    make(chan struct{}, 1),
		tries:   make(map[uint64]int32),
		claims:  make(map[uint64]string),
		early:   make(map[uint64]struct{}),
		items:   make(map[uint64]*item),
		members: make(map[string]*Member),
	}
	var err error
	if s.filter, err = filterOf(conf.Types); err != nil {
		return nil, err
	}
	s.conf = proto.CloneOf(conf)
	s.reorder()
	return s, nil
}

// reorder builds the queues of the keys anew.
func (s *subscription) reorder() {
	s.keys = make(map[string][]*item)
	s.ready, s.lone = nil, nil
	for _, seq := range sortedKeys(s.items) {
		it := s.items[seq]
		if it.phase == blocked {
			it.phase = ready
		}
		s.enqueue(it)
	}
}

// enqueue puts an unsettled item where it can be found.
func (s *subscription) enqueue(it *item) {
	if s.conf.Ordered {
		if k := key(it.record); k != "" {
			s.keys[k] = append(s.keys[k], it)
			if len(s.keys[k]) > 1 && it.phase == ready {
				it.phase = blocked
			}
		}
	}
	if it.phase == ready {
		s.line(it)
	}
}

// line puts a ready item where deliver finds it.
func (s *subscription) line(it *item) {
	line := &s.ready
	if it.alone {
		line = &s.lone
	}
	heap.Push(line, it.record.Sequence)
}

func key(r *pb.Record) string {
	if r.Key != "" {
		return r.Key
	}
	return r.RootId
}

// add makes the record unsettled.
func (s *subscription) add(r *pb.Record) {
	seq := r.Sequence
	it := &item{record: r, phase: ready, place: nowhere, try: s.tries[seq]}
	_, settled := s.early[seq]
	owner := s.members[s.claims[seq]]
	delete(s.tries, seq)
	delete(s.early, seq)
	delete(s.claims, seq)
	if settled {
		return
	}
	s.items[seq] = it
	s.bytes += size(r)
	s.enqueue(it)
	if owner != nil && it.phase == ready {
		s.lease(it, owner)
	}
}

// forgive takes the word of a member on what was not read again yet, because
// the process is new: that it is acknowledged, or that it is not handled any
// more.
func (s *subscription) forgive(o *pb.Settlement) {
	seq := o.Sequence
	delete(s.claims, seq)
	if o.Outcome != pb.Outcome_ACK {
		return
	}
	if i, found := slices.BinarySearch(s.reread, seq); found {
		s.reread = slices.Delete(s.reread, i, i+1)
		delete(s.tries, seq)
		return
	}
	if s.expected(seq) && len(s.early) < window {
		s.early[seq] = struct{}{}
	}
}

// expected reports whether the record may still come.
func (s *subscription) expected(seq uint64) bool {
	_, again := slices.BinarySearch(s.reread, seq)
	return again || seq > s.next && seq <= s.log.Last()
}

// forget drops what was said of records that did not come: they are of another
// type, or gone.
func (s *subscription) forget() {
	maps.DeleteFunc(s.claims, func(seq uint64, _ string) bool { return !s.expected(seq) })
	maps.DeleteFunc(s.early, func(seq uint64, _ struct{}) bool { return !s.expected(seq) })
}

// size is about what the record takes in memory.
func size(r *pb.Record) int { return len(r.Data) + len(r.Binary) + 512 }

// settle forgets the item.
func (s *subscription) settle(it *item) {
	seq := it.record.Sequence
	s.release(it)
	s.timed.drop(it)
	delete(s.items, seq)
	s.bytes -= size(it.record)
	k := key(it.record)
	queue := s.keys[k]
	i := slices.Index(queue, it)
	if i < 0 {
		return
	}
	if queue = slices.Delete(queue, i, i+1); len(queue) == 0 {
		delete(s.keys, k)
		return
	}
	s.keys[k] = queue
	if queue[0].phase == blocked {
		s.requeue(queue[0])
	}
}

// release takes the item from its holder.
func (s *subscription) release(it *item) {
	m := it.holder
	if m == nil {
		return
	}
	it.holder = nil
	if m.lone == it {
		m.lone = nil
	}
	delete(m.inflight, it.record.Sequence)
	if m.detached && len(m.inflight) == 0 && s.members[m.id] == m {
		s.gone(m)
	}
}

// requeue has the item delivered next.
func (s *subscription) requeue(it *item) {
	s.release(it)
	s.timed.drop(it)
	it.phase = ready
	s.line(it)
}

// fail is a try that did not succeed: another one after the delay, or none.
func (s *subscription) fail(it *item, delay time.Duration, reason string) {
	s.release(it)
	it.reason = reason
	switch {
	case s.conf.MaxTries > 0 && it.try-it.spared >= s.conf.MaxTries:
		s.kill(it)
	case delay > 0:
		it.phase = delayed
		s.wait(it, delay)
	default:
		s.requeue(it)
	}
}

// lapse is the end of a lease without a word: the member died or its handler
// hangs. Which of several records is to blame nobody knows; it counts against
// none, and the next try of each is alone.
func (s *subscription) lapse(it *item) {
	if !it.alone && it.holder.credit > 1 {
		it.alone = true
		it.spared++
	}
	s.fail(it, 0, "was not settled in time")
}

// kill makes the item a dead letter.
func (s *subscription) kill(it *item) {
	s.release(it)
	s.timed.drop(it)
	it.phase = dying
	s.dying = append(s.dying, it)
}

func (s *subscription) wait(it *item, d time.Duration) {
	s.timed.at(it, time.Now().Add(d))
}

// deliver hands ready items to members that have room.
func (s *subscription) deliver() {
	s.serve(&s.lone, func(m *Member) bool { return m.lone == nil })
	s.waiting = s.serve(&s.ready, anybody)
}

func anybody(*Member) bool { return true }

// serve hands items of the line to members that may have one and named its type.
// It returns how many items wait for such a member while others have room.
func (s *subscription) serve(line *sequences, may func(*Member) bool) int {
	var waiting []uint64
	for len(*line) > 0 && s.idlest(may) != nil {
		seq := heap.Pop(line).(uint64)
		it := s.items[seq]
		if it == nil || it.phase != ready {
			continue // settled meanwhile
		}
		m := s.idlest(func(m *Member) bool { return may(m) && m.filter.Match(it.record.Type) })
		if m == nil {
			waiting = append(waiting, seq)
			continue
		}
		it.try++
		s.lease(it, m)
		m.queue = append(m.queue, &pb.Delivery{Record: it.record, Try: it.try})
		m.notify()
		s.stats.delivered++
		if it.try > 1 {
			s.stats.redelivered++
		}
	}
	for _, seq := range waiting {
		heap.Push(line, seq)
	}
	return len(waiting)
}

func (s *subscription) ackWait() time.Duration { return time.Duration(s.conf.AckWait) }

// idlest returns the attached member with most room, of those that may, or nil.
func (s *subscription) idlest(may func(*Member) bool) *Member {
	var best *Member
	for _, m := range s.members {
		if m.detached || m.room() <= 0 || !may(m) {
			continue
		}
		if best == nil || m.room() > best.room() {
			best = m
		}
	}
	return best
}

// due returns when the next lease, delay or want ends, or zero when there is none.
func (s *subscription) due() time.Time {
	var first time.Time
	if len(s.timed) > 0 {
		first = s.timed[0].due
	}
	for _, w := range s.wants {
		if first.IsZero() || w.until.Before(first) {
			first = w.until
		}
	}
	return first
}

// tick ends the leases and delays that are due.
func (s *subscription) tick(now time.Time) {
	for len(s.timed) > 0 && !s.timed[0].due.After(now) {
		it := s.timed[0]
		s.timed.drop(it)
		switch it.phase {
		case leased:
			s.lapse(it)
		case delayed:
			s.requeue(it)
		case dying:
			s.dying = append(s.dying, it)
		}
	}
}

// hungry reports whether more should be read.
func (s *subscription) hungry() bool {
	return len(s.ready) <= s.waiting && len(s.items) < window && s.bytes < windowBytes && s.idlest(anybody) != nil
}

func (s *subscription) attached() int {
	n := 0
	for _, m := range s.members {
		if !m.detached {
			n++
		}
	}
	return n
}

// lag is how many records are not looked at or not settled.
func (s *subscription) lag() uint64 {
	last, behind := s.log.Last(), uint64(len(s.items)+len(s.reread))
	if last > s.next {
		behind += last - s.next
	}
	return behind
}

// poke wakes the dispatcher.
func (s *subscription) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
