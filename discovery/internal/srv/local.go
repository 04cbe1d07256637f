package srv

import (
	"net/netip"
	"sync"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
)

// local is the registry that a standalone discovery-srv registers itself in: its
// own leases.
type local struct {
	state *state

	mu      sync.Mutex
	options registry.Options
}

func newLocal(s *state) *local { return &local{state: s, options: *registry.NewOptions()} }

func (l *local) Init(opts ...registry.Option) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range opts {
		o(&l.options)
	}
	return nil
}

func (l *local) Options() registry.Options {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.options
}

func (l *local) String() string { return "platform" }

// selfInterval is how often internal/daemon registers a service again.
const selfInterval = 30 * time.Second

// Register takes the lease of this process.
func (l *local) Register(s *registry.Service, _ ...registry.RegisterOption) error {
	_, err := l.state.register(registration{service: pb.FromService(s), owner: self(), interval: selfInterval}, time.Now())
	return err
}

func (l *local) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	return l.state.deregister(pb.FromService(s), self(), 0, time.Now())
}

// self is nobody who could call.
func self() owner { return owner{host: netip.Addr{}.String(), account: discovery.ServiceName} }

func (l *local) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	found := l.state.services(name)
	if len(found) == 0 {
		return nil, registry.ErrNotFound
	}
	return unwire(found), nil
}

func (l *local) ListServices(...registry.ListOption) ([]*registry.Service, error) {
	return unwire(l.state.names()), nil
}

func unwire(found []*pb.Service) []*registry.Service {
	services := make([]*registry.Service, 0, len(found))
	for _, s := range found {
		services = append(services, s.Registry())
	}
	return services
}

// Watch streams changes from now on.
func (l *local) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	v := l.state.begin(&pb.WatchRequest{})
	v.results = nil
	return &localWatcher{state: l.state, service: o.Service, view: v, stopped: make(chan struct{})}, nil
}

type localWatcher struct {
	state   *state
	service string
	view    view
	stopped chan struct{}
	once    sync.Once
}

func (w *localWatcher) Next() (*registry.Result, error) {
	for {
		for len(w.view.results) > 0 {
			r := w.view.results[0]
			w.view.results = w.view.results[1:]
			if w.service == "" || r.Service.Name == w.service {
				return &registry.Result{Action: r.Action, Service: r.Service.Registry()}, nil
			}
		}
		select {
		case <-w.stopped:
			return nil, registry.ErrWatcherStopped
		case <-w.view.changed:
			w.view = w.state.next(w.view.revision)
		}
	}
}

func (w *localWatcher) Stop() { w.once.Do(func() { close(w.stopped) }) }
