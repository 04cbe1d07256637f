package kv

import (
	"errors"
	"fmt"

	pb "github.com/micro/go-platform/kv/proto"
)

var (
	errUnready = errors.New("items are being handed over")
	errCutOff  = fmt.Errorf("%w: most members have not heard of this one lately", ErrUnavailable)
)

// apply does what another asks of this one member in a view that both have. While
// it runs no other view comes in: what is written in a view is there when its
// items are handed over. It needs a lease: a member that is cut off together with
// most owners of a slot must not go on while the other side does.
// A write that is not counted, or asked for again, does no harm: it keeps its
// version.
func (p *platform) apply(view uint64, ops []*pb.Op) (results []*pb.Result, _ error) {
	p.installing.RLock()
	defer p.installing.RUnlock()
	v := p.view.Load()
	if v == nil {
		return nil, ErrUnavailable
	}
	if view != v.digest {
		return nil, errOtherView
	}
	if !p.lease.Load().holds(v) {
		return nil, errCutOff
	}
	size, wrote := 0, false
	results = make([]*pb.Result, 0, len(ops))
	for _, op := range ops {
		r := p.applyOne(op)
		wrote = wrote || writes(op)
		r.Unready = !v.ready(slotOf(string(op.Record.Key)))
		if size += resultSize(r); size > maxMessage && len(results) > 0 {
			break // the rest is asked for again
		}
		results = append(results, r)
	}
	if wrote && !p.lease.Load().holds(v) {
		return nil, errCutOff // paused meanwhile: the others may have gone on before it was written
	}
	return results, nil
}

func (p *platform) applyOne(op *pb.Op) *pb.Result {
	key := string(op.Record.Key)
	if !writes(op) {
		return &pb.Result{Record: p.records.read(key, op.Kind == pb.Op_READ)}
	}
	now, stale := p.records.write(op.Record, op.Kind == pb.Op_REPLACE)
	return &pb.Result{Record: &pb.Record{Version: now.message()}, Stale: stale}
}

func writes(op *pb.Op) bool { return op.Kind == pb.Op_WRITE || op.Kind == pb.Op_REPLACE }

// send has one member of the view do ops.
func (p *platform) send(v *view, to int, ops []*pb.Op, done func([]*pb.Result, error)) {
	if to == v.self {
		var results []*pb.Result
		for len(results) < len(ops) {
			some, err := p.apply(v.digest, ops[len(results):])
			if err != nil {
				done(nil, err)
				return
			}
			results = append(results, some...)
		}
		done(results, nil)
		return
	}
	p.peer(v.nodes[to]).send(v.digest, ops, done)
}
