package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/monitor/proto"
)

// forgetAfter is how long a list of nodes is believed after the last word from
// go.micro.srv.monitor, which sends a sign of life every four seconds.
const forgetAfter = 15 * time.Second

// nodes are the registry ids of nodes that are not ready: an immutable set that
// is replaced, nil while nothing is known.
type nodes struct {
	set    atomic.Pointer[map[string]struct{}]
	wanted chan struct{} // closed when somebody asked
	ask    sync.Once

	mu    sync.Mutex // of those who replace the set
	heard time.Time
}

// notReady never waits.
func (r *remote) notReady(node string) bool {
	r.nodes.ask.Do(func() { close(r.nodes.wanted) })
	set := r.nodes.set.Load()
	if set == nil {
		return false
	}
	_, found := (*set)[node]
	return found
}

// watch follows the nodes that are not ready, from the first question on.
func (r *remote) watch(ctx context.Context) {
	select {
	case <-r.nodes.wanted:
	case <-ctx.Done():
		return
	}
	forget := time.AfterFunc(r.opts.forgetAfter, func() { r.nodes.forget(r.opts.forgetAfter) })
	defer forget.Stop()
	// Short waits: while the stream is down nodes that drain get calls.
	wait := backoff.Backoff{Max: 2 * time.Second}
	silent := false
	for ctx.Err() == nil {
		heard, err := r.follow(ctx, forget)
		if heard {
			wait.Reset()
		}
		silent = silent && !heard
		// A stream that ended with its token is opened with the next one.
		if ended := heard && errors.Is(err, rpcerr.ErrUnauthenticated); ctx.Err() == nil && !ended && !silent {
			r.opts.Logger.Warn("cannot watch which nodes are ready, will retry", "error", err)
			silent = true
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// errRevision asks for a new snapshot.
var errRevision = errors.New("a change was missed")

// follow reads one stream to its end and reports whether it said anything.
func (r *remote) follow(ctx context.Context, forget *time.Timer) (heard bool, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A server that hangs would keep the stream open for ever.
	dead := time.AfterFunc(r.opts.forgetAfter, cancel)
	defer dead.Stop()
	stream, err := r.service().Watch(ctx, &pb.WatchRequest{}, client.WithDialTimeout(sendTimeout))
	if err != nil {
		return false, rpcerr.From(ctx, "watch "+ServiceName, err)
	}
	defer func() { _ = stream.Close() }() // it only says that the stream is over
	var revision uint64
	for {
		change, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return heard, fmt.Errorf("watch %s: %w", ServiceName, rpcerr.ErrUnavailable)
		}
		if err != nil {
			return heard, rpcerr.From(ctx, "watch "+ServiceName, err)
		}
		if !change.Snapshot && change.Previous != revision || !r.nodes.apply(change) {
			return heard, fmt.Errorf("watch %s: %w", ServiceName, errRevision)
		}
		heard, revision = true, change.Revision
		forget.Reset(r.opts.forgetAfter)
		dead.Reset(r.opts.forgetAfter)
	}
}

// apply replaces the set by one that knows the change. It returns false when
// there is nothing the change could build on.
func (n *nodes) apply(change *pb.WatchResponse) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.set.Load()
	if old == nil && !change.Snapshot {
		return false
	}
	n.heard = time.Now()
	if !change.Snapshot && len(change.Set)+len(change.Removed) == 0 {
		return true // a sign of life
	}
	fresh := make(map[string]struct{})
	if !change.Snapshot {
		maps.Copy(fresh, *old)
	}
	for _, s := range change.Set {
		fresh[s.Node] = struct{}{}
	}
	for _, id := range change.Removed {
		delete(fresh, id)
	}
	n.set.Store(&fresh)
	return true
}

// forget empties the set unless something was heard meanwhile.
func (n *nodes) forget(after time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.heard) >= after {
		n.set.Store(nil)
	}
}
