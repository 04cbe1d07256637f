package queue_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	stdsync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/memstore"
	"github.com/micro/go-platform/sync/internal/queue"
	"github.com/micro/go-platform/sync/synctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

const simTTL = 30 * time.Millisecond

var (
	errPaused = errors.New("paused")
	errDown   = errors.New("the server is down")
)

// outages are the lives of a server that crashes and comes back with its data.
type outages struct {
	mu    stdsync.Mutex
	life  context.Context // ends with a crash
	crash context.CancelFunc
}

func newOutages() *outages {
	o := &outages{}
	o.life, o.crash = context.WithCancel(context.Background())
	return o
}

func (o *outages) current() context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.life
}

func (o *outages) restart(down time.Duration) {
	o.mu.Lock()
	o.crash()
	o.mu.Unlock()
	<-time.After(down)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.life, o.crash = context.WithCancel(context.Background())
}

// process is the store as one process has it, which can be paused, and whose
// server crashes. A request that a crash meets is done or not, nobody knows.
type process struct {
	queue.Store
	server  *outages
	paused  atomic.Bool
	forgets atomic.Bool // the next answer is lost
}

func (p *process) do(ctx context.Context, request func(context.Context) error) error {
	if p.paused.Load() {
		timer := time.NewTimer(time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return errPaused
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	life := p.server.current()
	if p.forgets.CompareAndSwap(true, false) {
		_ = request(ctx) // nobody hears of it
		return errDown
	}
	if life.Err() != nil {
		return errDown
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	err := request(ctx)
	if life.Err() != nil {
		return errDown
	}
	return err
}

func (p *process) Grant(ctx context.Context, ttl time.Duration) (lease string, granted time.Duration, err error) {
	err = p.do(ctx, func(ctx context.Context) error { lease, granted, err = p.Store.Grant(ctx, ttl); return err })
	return lease, granted, err
}

func (p *process) Renew(ctx context.Context, lease string) error {
	return p.do(ctx, func(ctx context.Context) error { return p.Store.Renew(ctx, lease) })
}

func (p *process) Enter(ctx context.Context, lease, key, name string, value []byte) (q queue.Queue, err error) {
	err = p.do(ctx, func(ctx context.Context) error { q, err = p.Store.Enter(ctx, lease, key, name, value); return err })
	return q, err
}

func (p *process) Leave(ctx context.Context, ref queue.Ref) error {
	return p.do(ctx, func(ctx context.Context) error { return p.Store.Leave(ctx, ref) })
}

func (p *process) List(ctx context.Context, key string) (q queue.Queue, err error) {
	err = p.do(ctx, func(ctx context.Context) error { q, err = p.Store.List(ctx, key); return err })
	return q, err
}

func (p *process) Wait(ctx context.Context, ref queue.Ref, from queue.Queue) error {
	return p.do(ctx, func(ctx context.Context) error { return p.Store.Wait(ctx, ref, from) })
}

func (p *process) Missing(ctx context.Context, lease string, refs []queue.Ref) (missing []queue.Ref, err error) {
	err = p.do(ctx, func(ctx context.Context) error { missing, err = p.Store.Missing(ctx, lease, refs); return err })
	return missing, err
}

// start returns a Sync on the store that is stopped when the test ends.
func start(t *testing.T, store queue.Store, opts ...sync.Option) sync.Sync {
	t.Helper()
	s := queue.New(store, sync.NewOptions(opts...), nil)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestFaultNoTwoLeaders is short unless FAULTS is set.
func TestFaultNoTwoLeaders(t *testing.T) {
	rounds := synctest.Rounds{Rounds: 200, TTL: simTTL, PauseOneIn: 10, RestartEvery: 25}
	if os.Getenv("FAULTS") != "" {
		rounds.Rounds = 10000
	}
	server, outages := memstore.NewServer(), newOutages()
	var processes []*process
	for range 4 {
		p := &process{Store: server.Store(), server: outages}
		processes = append(processes, p)
		rounds.Contenders = append(rounds.Contenders, synctest.Contender{Sync: start(t, p), Pause: p.paused.Store})
	}
	rounds.Restart = func() {
		processes[rand.IntN(len(processes))].forgets.Store(true)
		outages.restart(rand.N(20 * time.Millisecond))
	}
	rounds.Run(t)
}
