package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/router/internal/balance"
	pb "github.com/micro/go-platform/router/proto"
)

// remote is go.micro.srv.router as the platform plugin sees it: one stream for
// all services in use.
type remote struct {
	p       *platform
	again   chan struct{} // a service came to use
	client  client.Client
	release func()
}

// silence is how long a stream may say nothing before it has told how long.
const silence = 15 * time.Second

// settle is how long a new service waits for others before the stream is opened
// anew for them.
const settle = 50 * time.Millisecond

func newRemote(p *platform) *remote { return &remote{p: p, again: make(chan struct{}, 1)} }

func (r *remote) open() {
	if r.p.set.Client != nil {
		r.client, r.release = rpc.Acquire(r.p.set.Client, r.p.set.TLS)
		return
	}
	c := rpc.NewClient(rpc.Config{Registry: r.p.selector.Registry, Broker: broker.DefaultBroker, TLS: r.p.set.TLS})
	r.client, r.release = c, c.Close
}

func (r *remote) close() { r.release() }

func (r *remote) service() pb.RouterService { return pb.NewRouterService(ServiceName, r.client) }

// reopen makes the stream ask for what is in use now.
func (r *remote) reopen() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// watch follows router-srv for ever.
func (r *remote) watch(ctx context.Context) {
	wait := backoff.Backoff{Max: 2 * time.Second}
	silent := false
	for ctx.Err() == nil {
		if len(r.known()) == 0 { // nothing is called yet
			select {
			case <-ctx.Done():
				return
			case <-r.again:
			}
			continue
		}
		heard, err := r.follow(ctx)
		if heard {
			wait.Reset()
		}
		if ctx.Err() != nil || errors.Is(err, errReopen) {
			continue
		}
		for _, s := range *r.p.services.Load() {
			s.cutOff(true)
		}
		silent = silent && !heard
		// A stream that ended with its token is opened with the next one.
		if ended := heard && errors.Is(err, rpcerr.ErrUnauthenticated); !ended && !silent {
			r.p.set.Logger.Warn("cannot follow router-srv, going on with what is known", "error", err)
			silent = true
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// errReopen ends a stream that asks for too little.
var errReopen = errors.New("another service came to use")

// known is what is asked for: the services in use and their last answers. A name that
// router-srv does not take would cost the answers of all.
func (r *remote) known() (all []*pb.Known) {
	for name, s := range *r.p.services.Load() {
		if name == ServiceName || !named(name, maxName) {
			continue
		}
		k := &pb.Known{Service: name}
		s.mu.Lock()
		if s.answer != nil {
			k.Epoch, k.Revision = s.answer.epoch, s.answer.revision
		}
		s.mu.Unlock()
		all = append(all, k)
	}
	return all
}

// follow reads one stream to its end and reports whether it said anything.
func (r *remote) follow(ctx context.Context) (heard bool, err error) {
	reopen, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := r.onAgain(reopen, cancel)
	defer stop()
	dead := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer dead.Stop()
	known := r.known()
	stream, err := r.service().SelectStream(reopen, &pb.SelectRequest{Caller: r.p.self(), Known: known, Signs: true}, client.WithDialTimeout(callTimeout))
	if err != nil {
		return false, r.reason(reopen, err)
	}
	defer func() { _ = stream.Close() }() // it only says that the stream is over
	for {
		rsp, err := stream.Recv()
		if err != nil {
			return heard, r.reason(reopen, err)
		}
		if !heard {
			heard = true
			for _, k := range known { // what it does not answer is as we know it
				if s := r.p.find(k.Service); s != nil && k.Epoch != "" {
					s.cutOff(false)
				}
			}
		}
		if ms := rsp.KeepaliveMs; ms > 0 {
			dead.Reset(3 * min(time.Duration(ms)*time.Millisecond, time.Minute))
		} else {
			dead.Reset(silence)
		}
		if rsp.Service != "" && !rsp.Unchanged {
			r.apply(rsp)
		}
	}
}

var errSilent = errors.New("it says nothing")

// reason is why a stream is over.
func (r *remote) reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("follow %s: %w", ServiceName, rpcerr.ErrUnavailable)
	}
	return rpcerr.From(ctx, "follow "+ServiceName, err)
}

// onAgain ends the stream soon after a service came to use. The returned
// function ends the waiting.
func (r *remote) onAgain(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
			return
		case <-r.again:
		}
		timer := time.NewTimer(settle)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			cancel(errReopen)
		}
	}()
	return func() { cancel(nil); <-done }
}

// apply takes one answer.
func (r *remote) apply(rsp *pb.SelectResponse) {
	s := r.p.find(rsp.Service)
	if s == nil {
		return
	}
	s.limits.share(rsp.Share)
	s.budget.setRatio(r.p.set.ratio(rsp.RetryRatio))
	s.told(newAnswer(rsp, r.p.now()))
}

// answer is what router-srv said of a service.
type answer struct {
	epoch    string
	revision uint64
	stale    bool
	services []*registry.Service
	policy   *balance.Policy
}

func newAnswer(rsp *pb.SelectResponse, now int64) *answer {
	a := &answer{epoch: rsp.Epoch, revision: rsp.Revision, stale: rsp.Stale}
	a.policy = &balance.Policy{Nodes: make(map[string]balance.NodePolicy)}
	for _, s := range rsp.Services {
		version := &registry.Service{Name: s.Name, Version: s.Version, Metadata: s.Metadata}
		for _, e := range s.Endpoints {
			version.Endpoints = append(version.Endpoints, &registry.Endpoint{Name: e.Name, Metadata: e.Metadata})
		}
		for _, n := range s.Nodes {
			version.Nodes = append(version.Nodes, &registry.Node{Id: n.Id, Address: address(n), Metadata: n.Metadata})
			np := balance.NodePolicy{Weight: float64(n.Weight) / 100, Reason: "router-srv: " + n.Reason}
			if n.Ejected {
				np.Ejected = now + n.EjectedMs*int64(time.Millisecond)
			}
			if n.Ejected || n.Weight != 100 {
				a.policy.Nodes[n.Id] = np
			}
		}
		a.services = append(a.services, version)
	}
	for _, x := range rsp.Rules {
		a.policy.Rules = append(a.policy.Rules, balance.Rule{
			ID: x.Id, Version: x.Version, Weight: percent(x.Weight), Priority: x.Priority, Key: x.Key, Value: x.Value,
		})
	}
	for _, x := range rsp.Labels {
		a.policy.Labels = append(a.policy.Labels, balance.LabelRule{
			ID: x.Id, Version: x.Version, Weight: percent(x.Weight), Priority: x.Priority, Key: x.Key, Value: x.Value,
			Strict: x.Fallback == pb.LabelSet_NONE,
		})
	}
	a.policy.Lower()
	a.policy.Sort()
	return a
}

func percent(w int64) int { return int(min(max(w, 0), 100)) }

// address joins what the wire has in two fields.
func address(n *pb.Node) string {
	if n.Port == 0 {
		return n.Address
	}
	return net.JoinHostPort(n.Address, strconv.FormatInt(n.Port, 10))
}
