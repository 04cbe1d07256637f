package srv

import (
	"time"

	pb "github.com/micro/go-platform/discovery/proto"
)

// maxEvents are kept for watchers that reconnect or are slow.
const maxEvents = 10_000

// events are the changes in order. The state's mutex guards them.
type events struct {
	revision uint64       // of the last one
	ring     []*pb.Result // the last ones; revision r is at place r % maxEvents
	changed  chan struct{}
}

func newEvents() events {
	return events{ring: make([]*pb.Result, 0, 64), changed: make(chan struct{})}
}

// add appends a change and wakes the watchers.
func (e *events) add(action string, service *pb.Service) {
	result := &pb.Result{Action: action, Service: service, Timestamp: time.Now().Unix()}
	e.revision++
	if len(e.ring) < maxEvents {
		e.ring = append(e.ring, result)
	} else {
		e.ring[(e.revision-1)%maxEvents] = result
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// since returns what came after the revision, or false when that is no longer
// known.
func (e *events) since(revision uint64) ([]*pb.Result, bool) {
	if revision > e.revision || e.revision-revision > uint64(len(e.ring)) {
		return nil, false
	}
	found := make([]*pb.Result, 0, e.revision-revision)
	for r := revision; r < e.revision; r++ {
		found = append(found, e.ring[r%maxEvents])
	}
	return found, true
}
