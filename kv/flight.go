package kv

import (
	"context"
	"sync"

	pb "github.com/micro/go-platform/kv/proto"
)

// flights let the readers of a hot key share reads. Unlike x/sync/singleflight
// nobody joins a read that has begun, which might miss a write that was
// acknowledged since: callers that come meanwhile share the next.
type flights struct {
	mu sync.Mutex
	by map[string]*flight
}

type flight struct {
	done   chan struct{}
	next   *flight
	record *pb.Record
	err    error
}

func newFlight() *flight { return &flight{done: make(chan struct{})} }

func (f *flights) do(ctx context.Context, key string, read func() (*pb.Record, error)) (*pb.Record, error) {
	f.mu.Lock()
	now, busy := f.by[key]
	if !busy {
		own := newFlight()
		f.by[key] = own
		f.mu.Unlock()
		return f.fly(key, own, read)
	}
	lead := now.next == nil
	if lead {
		now.next = newFlight()
	}
	next := now.next
	f.mu.Unlock()
	before := next.done
	if lead {
		before = now.done
	}
	select {
	case <-before:
	case <-ctx.Done():
		if lead {
			f.land(key, next, nil, ctx.Err())
		}
		return nil, ctx.Err()
	}
	if lead {
		return f.fly(key, next, read)
	}
	if next.err != nil {
		return read() // its context may have ended, ours has not
	}
	return next.record, nil
}

func (f *flights) fly(key string, own *flight, read func() (*pb.Record, error)) (*pb.Record, error) {
	r, err := read()
	f.land(key, own, r, err)
	return r, err
}

// land ends a flight, also one whose leader had no time to wait until it began.
func (f *flights) land(key string, own *flight, r *pb.Record, err error) {
	own.record, own.err = r, err
	f.mu.Lock()
	switch now := f.by[key]; {
	case now != own:
		now.next = nil
	case own.next == nil:
		delete(f.by, key)
	default:
		f.by[key] = own.next
	}
	f.mu.Unlock()
	close(own.done)
}
