package kv

import (
	"context"
	"sync"

	pb "github.com/micro/go-platform/kv/proto"
)

// flights let the readers of a hot key share reads. Unlike x/sync/singleflight
// nobody joins a read that has begun, which might miss a write that was
// acknowledged since: who comes meanwhile shares the next.
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
	if lead {
		<-now.done // bounded by the context of those that read
		return f.fly(key, next, read)
	}
	select {
	case <-next.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if next.err != nil {
		return read() // its context may have ended, ours has not
	}
	return next.record, nil
}

func (f *flights) fly(key string, own *flight, read func() (*pb.Record, error)) (*pb.Record, error) {
	own.record, own.err = read()
	f.mu.Lock()
	if own.next == nil {
		delete(f.by, key)
	} else {
		f.by[key] = own.next
	}
	f.mu.Unlock()
	close(own.done)
	return own.record, own.err
}
