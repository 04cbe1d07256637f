package router

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/router/internal/balance"
)

// readyTime is how long the function of NotReady may take for all nodes.
const readyTime = time.Second

// readiness asks the function of NotReady, which is a user's: it may panic or hang.
type readiness struct {
	notReady func(node string) bool
	log      *slog.Logger
	busy     atomic.Bool // it hangs, or is slow
	hung     sync.Once
	panicked sync.Once
}

// ask returns which of the nodes are not ready; false when that is not known in time.
// A node for which the function panics is ready.
func (r *readiness) ask(ctx context.Context, ids []string) (unready map[string]bool, ok bool) {
	if !r.busy.CompareAndSwap(false, true) {
		return nil, false
	}
	answer := make(chan map[string]bool, 1)
	go func() {
		defer r.busy.Store(false)
		all := make(map[string]bool)
		for _, id := range ids {
			if r.one(id) {
				all[id] = true
			}
		}
		answer <- all
	}()
	timer := time.NewTimer(readyTime)
	defer timer.Stop()
	select {
	case unready = <-answer:
		return unready, true
	case <-timer.C:
		r.hung.Do(func() { r.log.Warn("the function of NotReady is slow, nodes stay as they are", "bound", readyTime) })
	case <-ctx.Done():
	}
	return nil, false
}

func (r *readiness) one(id string) (unready bool) {
	defer func() {
		if p := recover(); p != nil {
			unready = false
			r.panicked.Do(func() { r.log.Error("the function of NotReady panics", "node", id, "panic", clean.Value(p, 1<<10)) })
		}
	}()
	return r.notReady(id)
}

// unready tells the pools which of their nodes are not ready.
func (p *platform) unready(ctx context.Context, r *readiness) {
	var ids []string
	services := *p.services.Load()
	for _, s := range services {
		s.pool.Each(func(m *balance.Member) { ids = append(ids, m.Node.Id) })
	}
	if len(ids) == 0 {
		return
	}
	if unready, ok := r.ask(ctx, ids); ok {
		for _, s := range services {
			s.pool.Ready(func(id string) bool { return unready[id] })
		}
	}
}
