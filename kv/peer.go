package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go-micro.dev/v6/client"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/backoff"
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

// peer sends operations to one member: by a link, or by calls while there is
// none. Those that come while requests are under way go together in the next one.
type peer struct {
	address   string
	service   pb.KVService
	options   []client.CallOption
	timeout   time.Duration
	linkAge   time.Duration
	namespace string
	spawn     func(func()) bool // false after Stop
	ctx       context.Context   // of all that is asked, until close
	cancel    context.CancelFunc

	mu       sync.Mutex
	pending  []*exchange
	bytes    int
	inflight int // calls

	link    *link // nil while there is none to use
	opening *link // its first answer is still to come
	wait    backoff.Backoff
	retry   time.Time // when a link may be opened again
	closed  error     // why nothing is asked any more
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
	refuse := p.closed
	if refuse == nil && p.bytes+x.size > maxPending {
		refuse = fmt.Errorf("%w: %s has too much to do", ErrUnavailable, p.address)
	}
	if refuse != nil {
		p.mu.Unlock()
		done(nil, refuse)
		return
	}
	p.bytes += x.size
	p.pending = append(p.pending, x)
	l := p.usable()
	start := l == nil && p.inflight < maxInflight
	if start {
		p.inflight++
	}
	p.mu.Unlock()
	if l != nil {
		l.pump()
	} else if start && !p.spawn(p.run) {
		p.fail(errStopped)
	}
}

// fail ends what waits.
func (p *peer) fail(err error) {
	p.mu.Lock()
	pending := p.pending
	p.pending, p.bytes = nil, 0
	p.mu.Unlock()
	for _, x := range pending {
		x.done(nil, err)
	}
}

func opSize(op *pb.Op) int { return len(op.Record.Key) + len(op.Record.Value) + 100 }

// batch are exchanges that share requests.
type batch struct {
	id      uint64 // in a link
	view    uint64
	parts   []*exchange
	ops     []*pb.Op // without a result yet
	results []*pb.Result
	size    int // bytes of the last request
	sent    time.Time
}

// take returns exchanges of one view that fit in a request, nil for none. It is
// called with the mutex held.
func (p *peer) take() *batch {
	if len(p.pending) == 0 {
		p.pending = nil
		return nil
	}
	n, size, ops := 0, 0, 0
	for _, x := range p.pending {
		if n > 0 && (x.view != p.pending[0].view || size+x.size > maxMessage || ops+len(x.ops) > maxOps) {
			break
		}
		n, size, ops = n+1, size+x.size, ops+len(x.ops)
	}
	b := &batch{view: p.pending[0].view, parts: p.pending[:n:n], ops: p.pending[0].ops}
	if n > 1 {
		b.ops = make([]*pb.Op, 0, ops)
		for _, x := range b.parts {
			b.ops = append(b.ops, x.ops...)
		}
	}
	p.pending = p.pending[n:]
	p.bytes -= size
	return b
}

// request is for the operations that have no result, as many as fit.
func (b *batch) request(namespace string) *pb.ExchangeRequest {
	n := 0
	for b.size = 0; n < len(b.ops); n++ {
		size := opSize(b.ops[n])
		if n > 0 && b.size+size > maxMessage {
			break
		}
		b.size += size
	}
	return &pb.ExchangeRequest{Namespace: namespace, View: b.view, Ops: b.ops[:n], Id: b.id}
}

// answer takes results in. There may be more to ask: an answer that would get
// too large has only the first of them.
func (b *batch) answer(rsp *pb.ExchangeResponse) error {
	switch {
	case rsp.OtherView:
		return errOtherView
	case len(rsp.Results) == 0 && len(b.ops) > 0 || len(rsp.Results) > len(b.ops):
		return fmt.Errorf("%w: %d results of %d", ErrUnavailable, len(rsp.Results), len(b.ops))
	}
	b.ops = b.ops[len(rsp.Results):]
	if b.results == nil {
		b.results = rsp.Results
	} else {
		b.results = append(b.results, rsp.Results...)
	}
	return nil
}

// end hands everybody what is his, or the error.
func (b *batch) end(err error) {
	for _, x := range b.parts {
		if err != nil {
			x.done(nil, err)
			continue
		}
		x.done(b.results[:len(x.ops)], nil)
		b.results = b.results[len(x.ops):]
	}
}

// run makes calls until nothing waits, or a link is there.
func (p *peer) run() {
	for {
		p.mu.Lock()
		l := p.link
		var b *batch
		if l == nil {
			b = p.take()
		}
		if b == nil {
			p.inflight--
		}
		p.mu.Unlock()
		if b == nil {
			if l != nil {
				l.pump()
			}
			return
		}
		b.end(p.exchange(b))
	}
}

// exchange asks until all operations have a result.
func (p *peer) exchange(b *batch) error {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
	defer cancel()
	for len(b.ops) > 0 {
		rsp, err := p.service.Exchange(ctx, b.request(p.namespace), p.options...)
		if err == nil {
			err = b.answer(rsp)
		}
		if err != nil && !errors.Is(err, errOtherView) {
			return rpcerr.From(ctx, "ask "+p.address, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func resultSize(r *pb.Result) int { return proto.Size(r) }
