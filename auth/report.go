package auth

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go-micro.dev/v6/client"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/lifecycle"
)

const (
	// reportEvery is how often decisions are reported, give or take a quarter.
	reportEvery = 10 * time.Second
	// lastReport bounds the report at Stop.
	lastReport = 500 * time.Millisecond
)

// tell reports decisions until ctx ends, and a last time then.
func (p *platform) tell(ctx context.Context) {
	for {
		wait := p.reports*3/4 + rand.N(p.reports/2) //nolint:gosec // so that not all report at once
		if !lifecycle.Sleep(ctx, wait) {
			break
		}
		if p.heard.Load() {
			p.report(ctx)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReport)
	defer cancel()
	p.report(last)
}

// report tells what was decided since the last report. What cannot be told now is
// told later, what is refused never again.
func (p *platform) report(ctx context.Context) {
	own, known := p.own.Peek()
	if !known { // at Stop there is none any more
		if own = p.followed.Load(); own == nil {
			return
		}
	}
	req, settle := p.tally.report()
	if req == nil {
		return
	}
	err := p.remote.report(ctx, own.AccessToken, req)
	settle(!isPassing(err))
}

// isPassing reports whether a report may be taken later.
func isPassing(err error) bool {
	for _, passing := range []error{ErrUnavailable, ErrLimited, ErrInvalidToken, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

func (r *remote) report(ctx context.Context, token string, req *pb.PolicyReportRequest) error {
	c, err := r.get()
	if err != nil {
		return err
	}
	ctx = plain(ctx, token)
	return r.servers.Call(ctx, "report decisions", callTimeout, func(opts ...client.CallOption) error {
		_, err := pb.NewPolicyService(ServiceName, c).Report(ctx, req, opts...)
		return err
	})
}
