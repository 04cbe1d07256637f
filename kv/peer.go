package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go-micro.dev/v5/client"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/kv/proto"
)

// Bounds of what goes to one member.
const (
	maxInflight = 4    // requests at a time; what comes meanwhile shares the next
	maxOps      = 1000 // of one request
	maxMessage  = 2 << 20
	maxPending  = 64 << 20 // bytes that wait
)

var errOtherView = errors.New("members disagree about who is one")

// peer sends operations to one member. Those that come while requests are under
// way go together in the next one.
type peer struct {
	address string
	service pb.KVService
	options []client.CallOption
	timeout time.Duration
	head    func() *pb.ExchangeRequest
	spawn   func(func()) bool // false after Stop

	mu       sync.Mutex
	pending  []*exchange
	bytes    int
	inflight int
}

// exchange are operations whose results are handed to done, once.
type exchange struct {
	view uint64
	ops  []*pb.Op
	done func([]*pb.Result, error)
	size int
}

func (p *peer) send(view uint64, ops []*pb.Op, done func([]*pb.Result, error)) {
	x := &exchange{view: view, ops: ops, done: done}
	for _, op := range ops {
		x.size += opSize(op)
	}
	p.mu.Lock()
	if p.bytes+x.size > maxPending {
		p.mu.Unlock()
		done(nil, fmt.Errorf("%w: %s has too much to do", ErrUnavailable, p.address))
		return
	}
	p.bytes += x.size
	p.pending = append(p.pending, x)
	start := p.inflight < maxInflight
	if start {
		p.inflight++
	}
	p.mu.Unlock()
	if start && !p.spawn(p.run) {
		done(nil, ErrStopped)
	}
}

func opSize(op *pb.Op) int { return len(op.Record.Key) + len(op.Record.Value) + 100 }

// take returns exchanges of one view that fit in a request; it ends the run when
// there are none.
func (p *peer) take() (some []*exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size, ops := 0, 0
	for _, x := range p.pending {
		if len(some) > 0 && (x.view != some[0].view || size+x.size > maxMessage || ops+len(x.ops) > maxOps) {
			break
		}
		some, size, ops = append(some, x), size+x.size, ops+len(x.ops)
	}
	p.pending = p.pending[len(some):]
	p.bytes -= size
	if len(some) == 0 {
		p.pending = nil
		p.inflight--
	}
	return some
}

func (p *peer) run() {
	for some := p.take(); len(some) > 0; some = p.take() {
		var ops []*pb.Op
		for _, x := range some {
			ops = append(ops, x.ops...)
		}
		results, err := p.exchange(some[0].view, ops)
		for _, x := range some {
			if err != nil {
				x.done(nil, err)
				continue
			}
			x.done(results[:len(x.ops)], nil)
			results = results[len(x.ops):]
		}
	}
}

// exchange asks until all operations have a result: an answer that would get too
// large has only the first.
func (p *peer) exchange(view uint64, ops []*pb.Op) (results []*pb.Result, _ error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	for len(results) < len(ops) {
		req := p.head()
		req.View = view
		for _, size := 0, 0; len(results)+len(req.Ops) < len(ops); {
			op := ops[len(results)+len(req.Ops)]
			if size += opSize(op); size > maxMessage && len(req.Ops) > 0 {
				break
			}
			req.Ops = append(req.Ops, op)
		}
		rsp, err := p.service.Exchange(ctx, req, p.options...)
		switch {
		case err != nil:
			return nil, rpcerr.From(ctx, "ask "+p.address, err)
		case rsp.OtherView:
			return nil, errOtherView
		case len(rsp.Results) == 0 || len(rsp.Results) > len(req.Ops):
			return nil, fmt.Errorf("%w: %s gave %d results of %d", ErrUnavailable, p.address, len(rsp.Results), len(req.Ops))
		}
		results = append(results, rsp.Results...)
	}
	return results, nil
}

func resultSize(r *pb.Result) int { return proto.Size(r) }
