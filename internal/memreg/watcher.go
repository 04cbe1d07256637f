package memreg

import (
	"sync"

	"go-micro.dev/v6/registry"
)

// backlog is how many events a watcher may lag behind before it is stopped, so
// that one nobody reads does not grow for ever. Its owner sees
// registry.ErrWatcherStopped and starts over.
const backlog = 10000

type watcher struct {
	registry *Registry
	service  string // empty: all

	mu      sync.Mutex
	events  []*registry.Result
	ready   chan struct{} // holds one token while there are events
	stopped chan struct{}
	once    sync.Once
}

// Watch returns the events from now on, of one service with
// registry.WatchService.
func (r *Registry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	w := &watcher{
		registry: r,
		service:  o.Service,
		ready:    make(chan struct{}, 1),
		stopped:  make(chan struct{}),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers[w] = struct{}{}
	return w, nil
}

// publish hands every watcher a copy of its own. The caller holds r.mu.
func (r *Registry) publish(action string, s *registry.Service) {
	for w := range r.watchers {
		if w.service != "" && w.service != s.Name {
			continue
		}
		if !w.push(&registry.Result{Action: action, Service: Copy(s)}) {
			delete(r.watchers, w)
			w.once.Do(func() { close(w.stopped) })
		}
	}
}

func (w *watcher) push(event *registry.Result) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) >= backlog {
		return false
	}
	w.events = append(w.events, event)
	select {
	case w.ready <- struct{}{}:
	default:
	}
	return true
}

// Next blocks until there is an event or the watcher is stopped.
func (w *watcher) Next() (*registry.Result, error) {
	for {
		select {
		case <-w.stopped:
			return nil, registry.ErrWatcherStopped
		case <-w.ready:
		}
		if event := w.pop(); event != nil {
			return event, nil
		}
	}
}

func (w *watcher) pop() *registry.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return nil
	}
	event := w.events[0]
	w.events = w.events[1:]
	if len(w.events) > 0 {
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
	return event
}

// Stop ends the watcher; a blocked Next returns.
func (w *watcher) Stop() {
	w.registry.mu.Lock()
	delete(w.registry.watchers, w)
	w.registry.mu.Unlock()
	w.once.Do(func() { close(w.stopped) })
}
