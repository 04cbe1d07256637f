package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go-micro.dev/v5/client"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/backoff"
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
		if heard {
			wait.Reset()
		}
		if errors.Is(err, ErrInvalidToken) {
			p.own.Renew()
		}
		if ctx.Err() == nil && (heard || !silent) {
			p.opts.logger.Warn("cannot follow keys, rules and revocations, will retry", "error", err)
			silent = true
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// follow reads one stream to its end and tells whether it said anything.
func (p *platform) follow(ctx context.Context) (heard bool, _ error) {
	own, err := p.own.Get()
	if err != nil {
		return false, err
	}
	c, err := p.remote.get()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(plain(ctx, own.AccessToken))
	defer cancel()
	dead := time.AfterFunc(deadAfter, cancel)
	defer dead.Stop()
	stream, err := pb.NewPolicyService(ServiceName, c).Watch(ctx, &pb.WatchRequest{}, client.WithDialTimeout(callTimeout))
	if err != nil {
		return false, rpcerr.From(ctx, "watch "+ServiceName, err)
	}
	defer func() { _ = stream.Close() }() // it only says that the stream is over
	for {
		change, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return heard, fmt.Errorf("watch %s: %w", ServiceName, ErrUnavailable)
		}
		if err != nil {
			return heard, rpcerr.From(ctx, "watch "+ServiceName, err)
		}
		dead.Reset(deadAfter)
		change.Reset_ = change.Reset_ || !heard
		if err := p.learn(change); err != nil {
			return heard, fmt.Errorf("watch %s: %w", ServiceName, err)
		}
		heard = true
	}
}

// learn takes a change over, unless it is a sign of life.
func (p *platform) learn(change *pb.WatchResponse) error {
	if !change.Reset_ && change.Rules == nil && len(change.Jwks)+len(change.Revocations) == 0 {
		return nil
	}
	if err := p.apply(change); err != nil {
		return err
	}
	p.saved.mark()
	if own, ok := p.own.Peek(); ok && p.isRevoked(own.AccessToken) {
		p.own.Renew()
	}
	return nil
}
