package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/kv/proto"
)

const (
	// defaultLinkAge is how long a link is used before another takes its place: the
	// caller is authorized when it is opened. The other end closes it at twice that.
	defaultLinkAge = time.Minute
	// maxUnanswered bounds the bytes on their way before the next request is
	// sent. grpc takes 64 KB without waiting for the other end, so that no sender
	// waits for it.
	maxUnanswered = 32 << 10
)

// link is a stream to a member; a call costs about four times as much. Requests
// are answered in their order. Whoever has something to send does so himself,
// and only the answers need a goroutine. When one does not come in time, the
// link is given up with all that was sent or waits for it.
type link struct {
	peer   *peer
	stream pb.KV_LinkService
	cancel context.CancelFunc
	opened time.Time
	timer  *time.Timer

	// guarded by the mutex of peer
	flying  []*batch // sent, oldest first
	rest    []*batch // answered in part
	bytes   int      // of flying
	ids     uint64
	sending bool // somebody is in pump
	watched bool // the timer runs
	over    bool
}

// usable returns the link to use and sees to it that there will be one. It is
// called with the mutex held.
func (p *peer) usable() *link {
	var age time.Duration
	if p.link != nil {
		age = time.Since(p.link.opened)
	}
	if (p.link == nil || age > p.linkAge) && p.opening == nil && p.closed == nil && !time.Now().Before(p.retry) {
		l := &link{peer: p}
		p.opening = l
		if !p.spawn(l.open) {
			p.opening = nil
		}
	}
	if age > p.linkAge*3/2 {
		p.retire(p.link)
		p.link = nil
	}
	return p.link
}

// open starts the stream with a request that asks nothing: its answer shows that
// the other end offers links and lets this one in.
func (l *link) open() {
	p := l.peer
	ctx, cancel := context.WithCancel(p.ctx)
	timer := time.AfterFunc(p.timeout, cancel)
	stream, err := p.service.Link(ctx, p.options...)
	timer.Stop()
	p.mu.Lock()
	l.cancel = cancel
	if err != nil || p.closed != nil {
		p.opening = nil
		p.postpone()
		l.over = true
		p.mu.Unlock()
		cancel()
		if err == nil {
			_ = stream.Close() // it never fails
		}
		return
	}
	l.stream, l.opened = stream, time.Now()
	l.timer = time.AfterFunc(p.timeout, l.watch)
	l.watched = true
	hello := &batch{sent: l.opened}
	l.flying = append(l.flying, hello)
	p.mu.Unlock()
	if err := stream.Send(hello.request(p.namespace)); err != nil {
		l.drop(err)
		return
	}
	l.receive()
}

// postpone is called with the mutex held.
func (p *peer) postpone() {
	p.wait.Min, p.wait.Max = 200*time.Millisecond, 30*time.Second
	p.retry = time.Now().Add(p.wait.Next())
}

// pump sends what waits, as far as the link takes it.
func (l *link) pump() {
	p := l.peer
	p.mu.Lock()
	if l.sending {
		p.mu.Unlock()
		return // the goroutine that is sending looks again
	}
	l.sending = true
	for b := l.next(); b != nil; b = l.next() {
		req := b.request(p.namespace)
		l.flying = append(l.flying, b)
		l.bytes += b.size
		b.sent = time.Now()
		if !l.watched {
			l.watched = true
			l.timer.Reset(p.timeout)
		}
		p.mu.Unlock()
		err := l.stream.Send(req)
		if err != nil {
			l.drop(err)
		}
		p.mu.Lock()
	}
	l.sending = false
	if p.link != l {
		p.retire(l)
	}
	p.mu.Unlock()
}

// next is called with the mutex held.
func (l *link) next() (b *batch) {
	if l.over || len(l.flying) >= maxInflight || l.bytes >= maxUnanswered {
		return nil
	}
	if len(l.rest) > 0 {
		b, l.rest = l.rest[0], l.rest[1:]
	} else if l.peer.link == l {
		b = l.peer.take()
	}
	if b != nil {
		l.ids++
		b.id = l.ids
	}
	return b
}

// receive takes answers until the link is over.
func (l *link) receive() {
	for {
		rsp, err := l.stream.Recv()
		if err == nil {
			err = l.answered(rsp)
		}
		if err != nil {
			l.drop(err)
			return
		}
		l.pump()
	}
}

// answered returns an error that ends the link.
func (l *link) answered(rsp *pb.ExchangeResponse) error {
	p := l.peer
	p.mu.Lock()
	if len(l.flying) == 0 || l.flying[0].id != rsp.Id {
		p.mu.Unlock()
		return fmt.Errorf("answer %d out of turn", rsp.Id)
	}
	b := l.flying[0]
	l.flying = l.flying[1:]
	l.bytes -= b.size
	p.mu.Unlock()

	var err error
	if rsp.Code != 0 {
		err = rpcerr.From(context.Background(), "ask "+p.address, merrors.New("kv", rsp.Error, rsp.Code))
	} else if err = b.answer(rsp); err != nil && !errors.Is(err, errOtherView) {
		err = fmt.Errorf("ask %s: %w", p.address, err)
	}
	if rsp.Id == 0 {
		if err == nil {
			l.ready()
		}
		return err
	}
	if err == nil && len(b.ops) > 0 {
		p.mu.Lock()
		l.rest = append(l.rest, b)
		p.mu.Unlock()
		return nil
	}
	b.end(err)
	return nil
}

// ready makes this the link to use.
func (l *link) ready() {
	p := l.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.over {
		return
	}
	old := p.link
	p.link, p.opening, p.wait = l, nil, backoff.Backoff{}
	p.retire(old)
}

// retire ends a link that nobody uses any more. It is called with the mutex held.
func (p *peer) retire(l *link) {
	if l != nil && len(l.flying) == 0 && len(l.rest) == 0 && !l.sending && !l.over {
		l.over = true
		l.cancel() // its receive ends
	}
}

// watch gives the link up when the oldest request has waited for too long.
func (l *link) watch() {
	p := l.peer
	p.mu.Lock()
	if l.over || len(l.flying) == 0 {
		l.watched = false
		p.mu.Unlock()
		return
	}
	left := p.timeout - time.Since(l.flying[0].sent)
	if left > 0 {
		l.timer.Reset(left)
	}
	p.mu.Unlock()
	if left <= 0 {
		l.drop(fmt.Errorf("no answer in %v", p.timeout))
	}
}

// drop ends the link. Of what was sent nobody knows whether it was done; what
// waits would wait for too long.
func (l *link) drop(cause error) {
	p := l.peer
	p.mu.Lock()
	l.over = true
	l.timer.Stop()
	lost := append(l.flying, l.rest...)
	l.flying, l.rest, l.bytes = nil, nil, 0
	used := p.link == l
	if used {
		p.link = nil
	}
	if p.opening == l {
		p.opening = nil
		p.postpone()
	}
	p.mu.Unlock()
	l.cancel()
	_ = l.stream.Close() // it never fails
	err := fmt.Errorf("ask %s: %w: %w", p.address, ErrUnavailable, cause)
	for _, b := range lost {
		b.end(err)
	}
	if used {
		p.fail(err)
	}
}

// close ends all that was asked of a member that left, or at Stop.
func (p *peer) close(why error) {
	p.mu.Lock()
	p.closed = why
	p.mu.Unlock()
	p.cancel()
	p.fail(why)
}
