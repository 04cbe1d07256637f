package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go-micro.dev/v6/client"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// deadAfter ends a stream that says nothing, not even the sign of life that
// comes every four seconds.
const deadAfter = 15 * time.Second

// watch follows keys, rules and revocations until ctx ends.
func (p *platform) watch(ctx context.Context) {
	// Short waits: while the stream is down nobody hears of revocations.
	wait := backoff.Backoff{Max: 2 * time.Second}
	silent := false
	for ctx.Err() == nil {
		heard, err := p.follow(ctx)
		p.whole = errors.Is(err, errSenseless)
		p.settle()
		if heard {
			wait.Reset()
			silent = false
		}
		if errors.Is(err, errMore) || ctx.Err() != nil {
			continue
		}
		p.trouble.Store(&err)
		// A stream that ended with its token is opened with the next one.
		if ended := heard && errors.Is(err, ErrInvalidToken); !ended && !silent {
			p.opts.Logger.Warn("cannot follow keys, rules and revocations, will retry", "error", err)
			silent = true
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// settle lets the calls go on that wait for the first answer.
func (p *platform) settle() {
	select {
	case <-p.tried:
	default:
		close(p.tried)
	}
}

// follow reads one stream to its end and reports whether it said anything.
func (p *platform) follow(ctx context.Context) (heard bool, _ error) {
	services, more := p.decided.all()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-more:
			cancel(errMore)
		case <-ctx.Done():
		}
	}()
	known := p.position()
	stream, change, err := p.connect(ctx, services, known)
	if err != nil {
		return false, cmp.Or(moreOf(ctx), err)
	}
	defer stream.close()
	defer p.heard.Store(false)
	if p.trouble.Load() != nil { // the name that was refused may be granted by now
		defer time.AfterFunc(p.asks, func() { cancel(errMore) }).Stop()
	}
	for {
		change.Reset_ = change.Reset_ || !heard && known == ""
		if err := p.learn(change); err != nil {
			return heard, fmt.Errorf("watch %s: %w: %w", ServiceName, errSenseless, err)
		}
		heard = true
		p.heard.Store(true)
		p.settle()
		if change, err = stream.recv(); err != nil {
			return heard, cmp.Or(moreOf(ctx), rpcerr.From(ctx, "watch "+ServiceName, err))
		}
	}
}

// moreOf returns errMore if that is why ctx ended.
func moreOf(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errMore) {
		return errMore
	}
	return nil
}

// askEvery is how often names that were refused are asked for again.
const askEvery = 30 * time.Second

// connect begins a stream about the services, but for those whose names the account
// does not hold: readiness says which is missing.
func (p *platform) connect(ctx context.Context, services []string, known string) (*stream, *pb.WatchResponse, error) {
	own, err := p.own.Get()
	if err != nil {
		return nil, nil, err
	}
	c, err := p.remote.get()
	if err != nil {
		return nil, nil, err
	}
	s, first, err := p.remote.watch(plain(ctx, own.AccessToken), c, services, known)
	if err == nil {
		p.trouble.Store(nil)
		p.followed.Store(own)
		return s, first, nil
	}
	if errors.Is(err, ErrForbidden) && len(services) > 1 {
		if said := p.trouble.Swap(&err); said == nil || (*said).Error() != err.Error() {
			p.opts.Logger.Warn("cannot decide for another service", "error", err)
		}
		if services, err = p.held(plain(ctx, own.AccessToken), c, services); err != nil {
			return nil, nil, err
		}
		p.followed.Store(own)
		return p.remote.watch(plain(ctx, own.AccessToken), c, services, known)
	}
	if now, ok := p.own.Peek(); ok && now == own && errors.Is(err, ErrInvalidToken) {
		p.own.Renew()
	}
	return nil, nil, err
}

// held returns the first service and those of the others that the account may decide for.
func (p *platform) held(ctx context.Context, c client.Client, services []string) ([]string, error) {
	held := services[:1:1]
	for _, service := range services[1:] {
		s, _, err := p.remote.watch(ctx, c, []string{services[0], service}, "")
		switch {
		case err == nil:
			s.close()
			held = append(held, service)
		case !errors.Is(err, ErrForbidden):
			return nil, err
		}
	}
	return held, nil
}

// errSenseless is the error of a change that cannot be taken over.
var errSenseless = errors.New("a change that makes no sense")

// position returns where the rules are known to be, "" to be told all of them.
func (p *platform) position() string {
	s := p.state.Load()
	if s == nil || p.whole {
		return ""
	}
	return s.position
}

// stream is one connection of a watcher.
type stream struct {
	pb.Policy_WatchService
	ctx    context.Context
	cancel context.CancelFunc
	dead   *time.Timer
}

// watch begins a stream and returns after its first message.
func (r *remote) watch(ctx context.Context, c client.Client, services []string, known string) (s *stream, first *pb.WatchResponse, err error) {
	req := &pb.WatchRequest{Services: services, Differences: true, Known: known}
	err = r.servers.Call(ctx, "watch "+ServiceName, callTimeout, func(opts ...client.CallOption) (err error) {
		s = &stream{}
		s.ctx, s.cancel = context.WithCancel(ctx)
		s.dead = time.AfterFunc(rpc.DefaultTimeout, s.cancel) // longer once it lives
		s.Policy_WatchService, err = pb.NewPolicyService(ServiceName, c).Watch(s.ctx, req, opts...)
		if err == nil {
			first, err = s.recv()
		}
		if err != nil {
			s.close()
		}
		return err
	})
	return s, first, err
}

// recv returns ErrUnavailable when the server, or its silence, ended the stream.
func (s *stream) recv() (*pb.WatchResponse, error) {
	change, err := s.Recv()
	if err == nil {
		s.dead.Reset(deadAfter)
	} else if errors.Is(err, io.EOF) || s.ctx.Err() != nil {
		err = ErrUnavailable
	}
	return change, err
}

func (s *stream) close() {
	s.dead.Stop()
	s.cancel()
	if s.Policy_WatchService != nil {
		_ = s.Close() // it only says that the stream is over
	}
}

// learn takes a change over, unless it is a sign of life.
func (p *platform) learn(change *pb.WatchResponse) error {
	if !change.Reset_ && change.Rules == nil && change.Changes == nil && len(change.Jwks)+len(change.Revocations) == 0 {
		return nil
	}
	if err := p.apply(change); err != nil {
		return err
	}
	p.saved.mark()
	if own, ok := p.own.Peek(); ok && p.isRevoked(own.marks) {
		p.own.Renew()
	}
	p.owns.RenewIf(func(o *ownToken) bool { return p.isRevoked(o.marks) })
	return nil
}
