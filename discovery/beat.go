package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/backoff"
)

const (
	renewals = 1000 // of one RPC
	atOnce   = 8    // registrations under way
	// maxPause bounds how long a registry that is back waits for its nodes, which
	// may all seem dead to it.
	maxPause = 3 * time.Second
)

// loop renews what is registered until ctx ends.
func (k *keeper) loop(ctx context.Context) {
	wait := backoff.Backoff{Min: min(100*time.Millisecond, k.opts.Interval), Max: min(maxPause, k.opts.Interval)}
	timer := time.NewTimer(k.pace())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.poke:
			timer.Reset(wait.Next())
			continue
		case <-timer.C:
		}
		if err := k.beat(ctx); err != nil && ctx.Err() == nil {
			k.note(err)
			timer.Reset(wait.Next())
			continue
		}
		k.note(nil)
		wait.Reset()
		timer.Reset(k.pace())
	}
}

// pace is never longer than the interval that the lease names.
func (k *keeper) pace() time.Duration { return k.opts.Interval - rand.N(k.opts.Interval/5+1) }

func (k *keeper) note(err error) {
	switch {
	case err != nil && !k.down:
		k.opts.Logger.Warn("cannot renew registrations, will retry", "error", err)
	case err == nil && k.down:
		k.opts.Logger.Info("registrations are renewed again")
	}
	k.down = err != nil
}

// beat is one round of heartbeats.
func (k *keeper) beat(ctx context.Context) error {
	k.mu.Lock()
	nodes := make([]*own, 0, len(k.nodes))
	for _, o := range k.nodes {
		nodes = append(nodes, o)
	}
	k.mu.Unlock()
	nodes = slices.DeleteFunc(nodes, (*own).nameless)
	var errs []error
	if k.under != nil {
		errs = append(errs, each(ctx, nodes, func(o *own) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.gone || o.service == nil {
				return nil
			}
			return k.tellUnder(ctx, o)
		}))
	}
	if k.lease != nil {
		for batch := range slices.Chunk(nodes, renewals) {
			errs = append(errs, k.renew(ctx, batch))
		}
	}
	return errors.Join(errs...)
}

// renew sends the heartbeats of the nodes, and registers those again that the
// server has never heard of.
func (k *keeper) renew(ctx context.Context, nodes []*own) error {
	leases := make([]*pb.Lease, 0, len(nodes))
	for _, o := range nodes {
		o.mu.Lock()
		leases = append(leases, &pb.Lease{
			Service: o.key.service, Version: o.key.version, Node: o.key.node, Secret: k.opts.Secret, Beat: o.count(),
		})
		o.mu.Unlock()
	}
	rsp, err := k.lease.renew(ctx, leases)
	if err != nil {
		k.publish(ctx, nodes)
		return err
	}
	var lost []*own
	for _, i := range slices.Concat(rsp.Unknown, rsp.Refused) {
		if int(i) < len(nodes) {
			lost = append(lost, nodes[i])
		}
	}
	return each(ctx, lost, func(o *own) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.gone || o.service == nil {
			return nil
		}
		return k.lease.register(ctx, o.service, o.count())
	})
}

// publish sends the heartbeats by topic, with the proof that they are ours.
func (k *keeper) publish(ctx context.Context, nodes []*own) {
	if len(k.opts.Addresses) > 0 && k.opts.Client == nil {
		return // no broker
	}
	key := pb.Key(k.opts.Secret)
	for _, o := range nodes {
		o.mu.Lock()
		h := &pb.Heartbeat{
			Id: o.key.node, Service: pb.FromService(o.service), Timestamp: time.Now().Unix(),
			Interval: seconds(k.opts.Interval), Ttl: seconds(TTLIntervals * k.opts.Interval),
			IntervalMs: k.opts.Interval.Milliseconds(), TtlMs: (TTLIntervals * k.opts.Interval).Milliseconds(),
			Beat: o.count(),
		}
		o.mu.Unlock()
		h.Proof = pb.Proof(key, o.key.service, o.key.version, o.key.node, h.Beat)
		k.lease.publish(ctx, h)
	}
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// each calls f for all nodes, a few at a time, and joins what went wrong with
// the first few.
func each(ctx context.Context, nodes []*own, f func(*own) error) error {
	queue := make(chan *own)
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for range min(atOnce, len(nodes)) {
		wg.Go(func() {
			for o := range queue {
				if err := f(o); err != nil {
					mu.Lock()
					if len(errs) < 3 {
						errs = append(errs, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, o := range nodes {
		if ctx.Err() != nil {
			break
		}
		queue <- o
	}
	close(queue)
	wg.Wait()
	return errors.Join(errs...)
}
