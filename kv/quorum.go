package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	pb "github.com/micro/go-platform/kv/proto"
	"github.com/micro/go-platform/sync/fence"
)

// hedge is how long a read waits for the members it asked before it asks the
// other owners as well.
const hedge = 20 * time.Millisecond

var errOvertaken = errors.New("somebody wrote with a fencing token")

// quorum returns how many of n owners have to answer.
func (p *platform) quorum(n int) (read, write int) {
	read, write = p.options.Read, p.options.Write
	if read == 0 {
		read = n/2 + 1
	}
	if write == 0 {
		write = n/2 + 1
	}
	return min(read, n), min(write, n)
}

// strict reports whether a read meets every write that was acknowledged.
func (p *platform) strict(n int) bool {
	read, write := p.quorum(n)
	return read+write > n
}

// meet reports whether the quorums of now owners, if they are among those of
// before, meet the quorums of these.
func (p *platform) meet(before, now int) bool {
	read, write := p.quorum(now)
	readBefore, writeBefore := p.quorum(before)
	return !p.strict(before) || read+writeBefore > before && write+readBefore > before
}

type answer struct {
	from   int
	result *pb.Result
	err    error
}

// order returns the owners of a slot, this member first and those that fail last.
func (p *platform) order(v *view, slot int) []int {
	var healthy, failing []int
	for _, i := range v.ring.of(slot) {
		switch {
		case int(i) == v.self:
			healthy = slices.Insert(healthy, 0, int(i))
		case p.members.isFailing(v.nodes[i].id):
			failing = append(failing, int(i))
		default:
			healthy = append(healthy, int(i))
		}
	}
	return append(healthy, failing...)
}

// gather returns the answers of need owners. It asks so many first, all of them
// if it is a write, and the others when these are slow or fail.
func (p *platform) gather(ctx context.Context, v *view, op *pb.Op, need int) ([]answer, error) {
	owners := p.order(v, slotOf(string(op.Record.Key)))
	if len(owners) == 0 {
		return nil, fmt.Errorf("%w: no members", ErrUnavailable)
	}
	answers := make(chan answer, len(owners))
	sent := 0
	more := func(n int) {
		for ; n > 0 && sent < len(owners); n-- {
			to := owners[sent]
			sent++
			p.send(v, to, []*pb.Op{op}, func(results []*pb.Result, err error) {
				a := answer{from: to, err: err}
				if err == nil {
					a.result = results[0]
				} else if op.Kind == pb.Op_WRITE {
					p.missed.add(v.nodes[to], op.Record)
				}
				answers <- a
			})
		}
	}
	if op.Kind == pb.Op_WRITE {
		more(len(owners))
	} else {
		more(need)
	}
	timer := time.NewTimer(hedge)
	defer timer.Stop()
	var good []answer
	var errs []error
	for len(good) < need {
		if len(errs) > len(owners)-need {
			return nil, errors.Join(errs...)
		}
		select {
		case a := <-answers:
			if a.err == nil && a.result.Unready {
				a.err = errUnready
			}
			if a.err != nil {
				errs = append(errs, a.err)
				if errors.Is(a.err, ErrUnavailable) {
					poke(p.probeNow) // it may be dead
				}
				more(1)
				continue
			}
			good = append(good, a)
		case <-timer.C:
			more(len(owners))
			if p.members.minority() {
				return nil, errors.Join(append(errs, errCutOff)...)
			}
			timer.Reset(10 * hedge)
		case <-ctx.Done():
			return nil, errors.Join(append(errs, ErrUnavailable, ctx.Err())...)
		}
	}
	return good, nil
}

// try repeats f while the members disagree on the membership, or too few answer. It
// gives up early where most members do not answer: then it is likely this one
// that is cut off.
func (p *platform) try(ctx context.Context, doing, key string, f func(v *view) error) error {
	wait := backoff.Backoff{Min: 2 * time.Millisecond, Max: 50 * time.Millisecond}
	for {
		v := p.view.Load()
		if v == nil {
			return errStopped
		}
		err := f(v)
		switch {
		case err == nil || errors.Is(err, fence.ErrStale):
			return Failed(doing, key, err)
		case errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		case errors.Is(err, errOtherView):
			poke(p.probeNow)
		}
		if p.members.minority() {
			return Failed(doing, key, fmt.Errorf("%w: most members do not answer: %w", ErrUnavailable, err))
		}
		if wait.Wait(ctx) != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return Failed(doing, key, fmt.Errorf("%w: %w: %w", ErrUnavailable, ctx.Err(), err))
		}
	}
}

// newest returns the record with the highest version and how many have it. A
// record that has expired for one has expired.
func newest(answers []answer) (best *pb.Record, same int) {
	for _, a := range answers {
		r := a.result.Record
		order := versionOf(r.GetVersion()).compare(versionOf(best.GetVersion()))
		switch {
		case order > 0:
			best, same = r, 1
		case order == 0:
			same++
			if best != nil && r.Gone {
				best = r
			}
		}
	}
	return best, same
}

// read is the reading of H. Attiya, A. Bar-Noy, D. Dolev, "Sharing Memory
// Robustly in Message-Passing Systems", JACM 1995: what it returns was made sure
// to be on a write quorum, so that no later read returns something older. A read
// of one member promises nothing of the kind.
func (p *platform) read(ctx context.Context, key string) (best *pb.Record, err error) {
	op := &pb.Op{Kind: pb.Op_READ, Record: &pb.Record{Key: []byte(key)}}
	err = p.try(ctx, "get", key, func(v *view) error {
		need, write := p.quorum(v.ring.replicas)
		answers, err := p.gather(ctx, v, op, need)
		if err != nil {
			return err
		}
		var same int
		best, same = newest(answers)
		if need == 1 || same == len(answers) && (same >= write || best == nil) {
			return nil
		}
		return p.repair(ctx, v, best)
	})
	return best, err
}

// repair writes what was read to the owners that lack it. It waits for them only
// where readers rely on it.
func (p *platform) repair(ctx context.Context, v *view, best *pb.Record) error {
	op := &pb.Op{Kind: pb.Op_WRITE, Record: best}
	if p.strict(v.ring.replicas) {
		_, write := p.quorum(v.ring.replicas)
		_, err := p.gather(ctx, v, op, write)
		return err
	}
	for _, to := range v.ring.of(slotOf(string(best.Key))) {
		p.send(v, int(to), []*pb.Op{op}, func([]*pb.Result, error) {}) // the next read tries again
	}
	return nil
}

// write puts a record on a write quorum. Where quorums meet it asks for the
// highest version first, so that its own is above all that was acknowledged
// before it began; else the clocks decide. From its first attempt on it keeps its
// version: some of the owners may have it.
func (p *platform) write(ctx context.Context, doing string, r *pb.Record, token uint64) error {
	key := string(r.Key)
	var mine version
	return p.try(ctx, doing, key, func(v *view) error {
		if mine.count == 0 {
			seen, err := p.highest(ctx, v, key, token)
			if err != nil {
				return err
			}
			mine = version{max(token, seen.token), p.records.clock.next(seen.count), p.records.writer}
		}
		// A record of its own: that of the last attempt may still be on its way.
		record := &pb.Record{Key: r.Key, Value: r.Value, TtlMs: r.TtlMs, Gone: r.Gone, Version: mine.message()}
		_, need := p.quorum(v.ring.replicas)
		answers, err := p.gather(ctx, v, &pb.Op{Kind: pb.Op_WRITE, Record: record}, need)
		if err != nil {
			return err
		}
		for _, a := range answers {
			seen := versionOf(a.result.Record.GetVersion())
			switch {
			case !a.result.Stale:
			case token > 0:
				return staleError(token, seen.token)
			case !p.strict(v.ring.replicas): // it did not ask for the token
				mine = version{seen.token, p.records.clock.next(seen.count), p.records.writer}
				return errOvertaken
			}
			// Else somebody with a token came between, and was the later one.
		}
		return nil
	})
}

func staleError(token, seen uint64) error {
	return fmt.Errorf("%w: %w: %d, have seen %d", ErrConflict, fence.ErrStale, token, seen)
}

// highest returns the version that a write has to exceed.
func (p *platform) highest(ctx context.Context, v *view, key string, token uint64) (version, error) {
	if !p.strict(v.ring.replicas) && token == 0 {
		return version{}, nil
	}
	need, _ := p.quorum(v.ring.replicas)
	answers, err := p.gather(ctx, v, &pb.Op{Kind: pb.Op_VERSION, Record: &pb.Record{Key: []byte(key)}}, need)
	if err != nil {
		return version{}, err
	}
	best, _ := newest(answers)
	seen := versionOf(best.GetVersion())
	if token > 0 && token < seen.token {
		return seen, staleError(token, seen.token)
	}
	return seen, nil
}
