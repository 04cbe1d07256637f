package srv

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	replicatePace = 100 * time.Millisecond // between two messages
	maxRecords    = 500                    // of one message
)

// Replicate implements pb.RegistryHandler.
func (h *registryHandler) Replicate(ctx context.Context, req *pb.ReplicateRequest, stream pb.Registry_ReplicateStream) error {
	if subtle.ConstantTimeCompare([]byte(req.Secret), []byte(h.secret)) != 1 {
		return refuse(rpcerr.ErrForbidden)
	}
	if err := h.holds(ctx, discovery.ServiceName); err != nil { // a lease comes with what proves whose it is
		return refuse(err)
	}
	pace := time.NewTicker(replicatePace)
	defer pace.Stop()
	cursor, silent := uint64(0), time.Now()
	for first := true; ; first = false {
		records, now := h.state.since(cursor)
		cursor = now
		for n := page.Fit(records, maxRecords); n < len(records); n = page.Fit(records, maxRecords) {
			if err := stream.Send(&pb.ReplicateResponse{Records: records[:n], Epoch: h.state.epoch}); err != nil {
				return err
			}
			records = records[n:]
		}
		if first || len(records) > 0 || time.Since(silent) > lifeSign {
			if err := stream.Send(&pb.ReplicateResponse{Records: records, Complete: true, Epoch: h.state.epoch}); err != nil {
				return err
			}
			silent = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.done:
			return nil
		case <-pace.C:
		}
	}
}

// since returns what was touched after the cursor, and the cursor to go on
// from.
func (s *state) since(cursor uint64) ([]*pb.Record, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.touches == cursor {
		return nil, cursor
	}
	now := time.Now()
	var found []*pb.Record
	for k, g := range s.graves {
		if g.touched > cursor {
			found = append(found, g.record(k))
		}
	}
	for _, l := range s.leases {
		if l.touched > cursor {
			found = append(found, l.record(cursor, now))
		}
	}
	return found, s.touches
}

func (g grave) record(k leaseKey) *pb.Record {
	r := &pb.Record{Service: ids(k), Beat: g.beat, State: pb.Record_LEFT}
	if g.expired {
		r.State = pb.Record_EXPIRED
	}
	return r
}

func ids(k leaseKey) *pb.Service {
	return &pb.Service{Name: k.service, Version: k.version, Nodes: []*pb.Node{{Id: k.node}}}
}

func (l *lease) record(cursor uint64, now time.Time) *pb.Record {
	r := &pb.Record{Service: l.service, AgeMs: max(now.Sub(l.renewed), 0).Milliseconds(), Beat: l.beat}
	if l.changed <= cursor {
		r.Service, r.Renewal = ids(l.key), true
		return r
	}
	r.Key, r.Host, r.Account = l.owner.key, l.owner.host, l.owner.account
	r.IntervalMs, r.TtlMs = l.interval.Milliseconds(), l.ttl.Milliseconds()
	return r
}

// merge takes what another discovery-srv knows. Whose word of the registrant
// is later wins, by the registrant's own count; expiry is believed by read
// replicas alone, for write nodes judge by the heartbeats they know.
// It returns false when it takes the whole of a lease to go on.
func (s *state) merge(r *pb.Record, follow bool, now time.Time) bool {
	if r.GetService() == nil || len(r.Service.Nodes) != 1 {
		return true
	}
	k := leaseKey{r.Service.Name, r.Service.Version, r.Service.Nodes[0].GetId()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(now)
	l := s.leases[k]
	switch {
	case r.State == pb.Record_LEFT:
		s.left(k, l, r.Beat, now)
	case r.State == pb.Record_EXPIRED:
		if follow && l != nil && r.Beat >= l.beat {
			s.expired++
			s.bury(l, r.Beat, true, now)
		}
	case l != nil && r.Beat <= l.beat: // known
	case !r.Renewal:
		s.adopt(k, r, now)
	case l != nil:
		s.touch(l, r.Beat, now.Add(-age(r)))
	default:
		return s.graves[k].beat >= r.Beat
	}
	return true
}

// left notes that the registrant ended a lease elsewhere.
func (s *state) left(k leaseKey, l *lease, beat uint64, now time.Time) {
	switch {
	case l != nil && beat >= l.beat:
		s.bury(l, beat, false, now)
	case l == nil && s.graves[k].beat < beat && len(s.graves) < maxGraves:
		s.touches++
		s.graves[k] = grave{service: ids(k), beat: beat, touched: s.touches, at: now}
	}
}

// adopt takes a lease of another's as it is, unless it ended here meanwhile.
func (s *state) adopt(k leaseKey, r *pb.Record, now time.Time) {
	if g, ok := s.graves[k]; ok && g.beat >= r.Beat {
		return
	}
	interval, ttl, err := checkTimes(r.IntervalMs, r.TtlMs)
	if err != nil || len(s.leases) >= maxLeases {
		return // the other one has bounds too: this is not a peer of ours
	}
	l := newLease(registration{
		service: r.Service, owner: owner{r.Key, r.Host, r.Account},
		interval: interval, ttl: ttl, beat: r.Beat,
	}, r.Service.Nodes[0], now.Add(-age(r)))
	s.put(l)
}

func age(r *pb.Record) time.Duration {
	return min(time.Duration(max(r.AgeMs, 0))*time.Millisecond, maxTTL)
}
