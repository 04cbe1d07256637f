package router

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

// heldWindows is how many windows wait while router-srv is away.
const heldWindows = 12

const callTimeout = 2 * time.Second

// reporter sends the statistics window by window. Each keeps its number, so
// that router-srv counts one that comes twice once.
type reporter struct {
	p           *platform
	queue       *batch.Queue[*pb.ReportRequest]
	incarnation string
	seq         uint64
	refused     bool // the last one was; of the sender
}

func newReporter(p *platform) *reporter {
	r := &reporter{p: p, incarnation: rand.Text()}
	r.queue = batch.New(batch.Config[*pb.ReportRequest]{
		Name: "windows of router statistics", One: "window of router statistics", Size: 1, Capacity: heldWindows,
		Interval: p.set.Interval, Timeout: callTimeout, Logger: p.set.Logger, Send: r.send,
	})
	return r
}

func (r *reporter) start() error {
	if r.p.remote == nil {
		return nil
	}
	return r.queue.Start()
}

// stop sends the last window. It returns an ErrLost for windows that were not
// acknowledged.
func (r *reporter) stop() error {
	if r.p.remote == nil {
		return nil
	}
	r.turn()
	before := r.dropped()
	err := r.queue.Stop()
	if n := r.dropped() - before; n > 0 {
		return lifecycle.Lost("router", int(n), "statistics window", "no answer of "+ServiceName+" in time")
	}
	return err
}

func (r *reporter) dropped() uint64 { return r.queue.Dropped() }

func (r *reporter) loop(ctx context.Context) { lifecycle.Every(ctx, r.p.set.Interval, r.turn) }

// turn ends the windows of all services.
func (r *reporter) turn() {
	var all []*pb.Stats
	for _, s := range *r.p.services.Load() {
		if st := s.turn(); st != nil {
			st.Timestamp = time.Now().Unix()
			st.Duration = int64((r.p.set.Interval + time.Second - 1) / time.Second)
			st.DurationMs = r.p.set.Interval.Milliseconds()
			all = append(all, st)
		}
	}
	if r.p.remote == nil {
		return
	}
	for some := range slices.Chunk(all, maxReported) {
		r.seq++
		_ = r.queue.Add(&pb.ReportRequest{ // a full queue counts and logs by itself
			Caller: r.p.self(), Incarnation: r.incarnation, IntervalMs: r.p.set.Interval.Milliseconds(), Seq: r.seq, Stats: some,
		})
	}
}

// send delivers one window. One that router-srv would refuse again is dropped
// and counted; while it cannot be reached the topic is fed.
func (r *reporter) send(ctx context.Context, items []*pb.ReportRequest) error {
	remote := r.p.remote
	_, err := remote.service().Report(ctx, items[0], rpc.Options(callTimeout)...)
	code := call.Code(err)
	err = rpcerr.From(ctx, "report to "+ServiceName, err)
	switch {
	case err == nil:
		r.refused = false
		return nil
	case code >= 400 && code < 500 && code != 408 && code != 429, errors.Is(err, rpcerr.ErrInvalid): // the latter also of what cannot be encoded
		if !r.refused {
			r.p.set.Logger.Warn("router statistics are refused", "error", err)
		}
		r.refused = true
		r.queue.Drop(1)
		return nil
	}
	return errors.Join(err, r.publish(ctx, items[0]))
}

// publish feeds the topic, best effort.
func (r *reporter) publish(ctx context.Context, req *pb.ReportRequest) error {
	c := r.p.set.Client
	caller := r.p.caller()
	for _, s := range req.Stats {
		s.Client = &pb.Service{Name: caller.Name, Version: caller.Version, Nodes: []*pb.Node{{Id: caller.Nodes[0].Id}}}
		if err := rpc.Publish(ctx, c, StatsTopic, s); errors.Is(err, rpc.ErrNoBroker) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (p *platform) self() *pb.Caller {
	c := p.caller()
	return &pb.Caller{Service: c.Name, Node: c.Nodes[0].Id, Zone: p.set.Zone}
}
