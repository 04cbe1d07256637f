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

	"github.com/anishathalye/porcupine"

	"github.com/micro/go-platform/internal/queue"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/fence"
	"github.com/micro/go-platform/sync/memory"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

const simTTL = 30 * time.Millisecond

// pausable is a store that a process which is paused, or cut off, cannot reach.
type pausable struct {
	queue.Store
	paused atomic.Bool
}

var errPaused = errors.New("paused")

func (p *pausable) reach(ctx context.Context) error {
	if !p.paused.Load() {
		return nil
	}
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return errPaused
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pausable) Renew(ctx context.Context, lease string) error {
	if err := p.reach(ctx); err != nil {
		return err
	}
	return p.Store.Renew(ctx, lease)
}

func (p *pausable) Enter(ctx context.Context, lease, key, name string, value []byte) (queue.Queue, error) {
	if err := p.reach(ctx); err != nil {
		return queue.Queue{}, err
	}
	return p.Store.Enter(ctx, lease, key, name, value)
}

func (p *pausable) Leave(ctx context.Context, ref queue.Ref) error {
	if err := p.reach(ctx); err != nil {
		return err
	}
	return p.Store.Leave(ctx, ref)
}

// step is what a holder did: it got the lock with a token, or found that it
// still had it.
type step struct {
	got   bool
	token uint64
}

// exclusive says that a holder never finds that it has the lock after another
// one got it. That the former one lost it, or gave it back, is no step.
var exclusive = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		s := input.(step)
		if s.got {
			return s.token > state.(uint64), s.token
		}
		return s.token == state.(uint64), state
	},
}

// history collects steps with the times between which they happened.
type history struct {
	mu    stdsync.Mutex
	begin time.Time
	ops   []porcupine.Operation
}

func (h *history) add(client int, began time.Time, s step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{
		ClientId: client, Input: s, Call: int64(began.Sub(h.begin)), Return: int64(time.Since(h.begin)),
	})
}

// candidate stands for the seat until rounds are done.
type candidate struct {
	number  int
	store   *pausable
	sync    sync.Sync
	history *history
	rounds  *atomic.Int64
	guard   *fence.Guard
	stale   *atomic.Int64
	lost    *atomic.Int64
}

func (c *candidate) run(t *testing.T) {
	random := rand.New(rand.NewPCG(1, uint64(c.number)))
	for c.rounds.Add(-1) >= 0 {
		l, err := c.sync.Leader("seat", sync.LeaderTTL(simTTL))
		if err != nil {
			t.Error(err)
			return
		}
		began := time.Now()
		seat, err := l.Elect()
		if err != nil {
			t.Error(err)
			return
		}
		token, err := seat.Token()
		if err != nil {
			continue // lost before it could be used
		}
		c.history.add(c.number, began, step{true, token})
		pause := random.IntN(10) == 0
		for range 3 {
			c.use(t, seat, token)
			if pause {
				c.store.paused.Store(true)
				time.Sleep(2 * simTTL)
				c.write(token) // as if the pause came between looking at the lock and writing
				if _, err := seat.Token(); !errors.Is(err, sync.ErrLost) {
					t.Errorf("after a pause of twice the TTL: %v", err)
				}
				c.store.paused.Store(false)
			}
		}
		if err := seat.Resign(); err != nil {
			if !errors.Is(err, sync.ErrLost) {
				t.Error(err)
			}
			c.lost.Add(1)
		}
	}
}

func (c *candidate) use(t *testing.T, seat sync.Elected, token uint64) {
	began := time.Now()
	if again, err := seat.Token(); err == nil {
		c.history.add(c.number, began, step{false, again})
		if again != token {
			t.Errorf("the token changed from %d to %d", token, again)
		}
		c.write(token)
	}
}

func (c *candidate) write(token uint64) {
	if errors.Is(c.guard.Check(token), fence.ErrStale) {
		c.stale.Add(1)
	}
}

// TestFaultNoTwoLeaders is short unless FAULTS is set.
func TestFaultNoTwoLeaders(t *testing.T) {
	rounds := int64(200)
	if os.Getenv("FAULTS") != "" {
		rounds = 10000
	}
	var left, stale, lost atomic.Int64
	left.Store(rounds)
	server, guard, h := memory.NewServer(), &fence.Guard{}, &history{begin: time.Now()}
	var wg stdsync.WaitGroup
	for i := range 4 {
		store := &pausable{Store: server.Store()}
		s := queue.New(store, sync.NewOptions(), nil)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		c := &candidate{i, store, s, h, &left, guard, &stale, &lost}
		wg.Go(func() { c.run(t) })
		defer func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if result := porcupine.CheckOperationsTimeout(exclusive, h.ops, time.Minute); result != porcupine.Ok {
		t.Errorf("two leaders at once: %v over %d steps", result, len(h.ops))
	}
	t.Logf("%d rounds, %d steps, %d seats lost, %d stale writes refused", rounds, len(h.ops), lost.Load(), stale.Load())
	if lost.Load() == 0 || stale.Load() == 0 {
		t.Error("nothing was lost and no write was stale: this showed nothing")
	}
}
