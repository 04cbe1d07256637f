package synctest

import (
	"errors"
	"math/rand/v2"
	stdsync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/fence"
)

// Rounds is an election that is held again and again, while contenders are
// paused and the server restarts, before a fenced resource.
type Rounds struct {
	Rounds     int
	TTL        time.Duration
	Contenders []Contender
	// One in so many holders is paused for twice the TTL, 0 is none.
	PauseOneIn int
	// Restart takes the server down and brings it back, after every
	// RestartEvery rounds.
	Restart      func()
	RestartEvery int
}

// Contender is one process.
type Contender struct {
	Sync sync.Sync // started
	// Pause keeps it from reaching the server until it is called with false.
	Pause func(paused bool)
}

// Run holds the rounds and checks what was seen: that no holder finds that it
// has the seat after another one got it, and that the resource took no write
// after one with a higher token.
func (r Rounds) Run(t *testing.T) {
	c := &contest{Rounds: r, began: time.Now(), restart: make(chan struct{}, 1)}
	c.left.Store(int64(r.Rounds))
	var wg stdsync.WaitGroup
	for i, contender := range r.Contenders {
		wg.Go(func() { c.contend(t, i, contender) })
	}
	go func() { wg.Wait(); close(c.restart) }()
	restarts := 0
	for range c.restart {
		r.Restart()
		restarts++
	}
	for what, history := range map[string]struct {
		model porcupine.Model
		ops   []porcupine.Operation
	}{"seat": {exclusive, c.seat}, "resource": {fenced, c.resource}} {
		if result := porcupine.CheckOperationsTimeout(history.model, history.ops, time.Minute); result != porcupine.Ok {
			t.Errorf("%s: %v over %d steps", what, result, len(history.ops))
		}
	}
	t.Logf("%d rounds, %d restarts, %d looks at the seat, %d seats lost, %d of %d writes refused",
		r.Rounds, restarts, len(c.seat), c.lost.Load(), c.stale.Load(), len(c.resource))
	if r.PauseOneIn > 0 && (c.lost.Load() == 0 || c.stale.Load() == 0) || r.RestartEvery > 0 && restarts == 0 {
		t.Error("nothing was lost, no write was stale, or nothing restarted: this showed nothing")
	}
}

type contest struct {
	Rounds
	began   time.Time
	restart chan struct{}
	left    atomic.Int64
	lost    atomic.Int64
	stale   atomic.Int64
	guard   fence.Guard

	mu       stdsync.Mutex
	seat     []porcupine.Operation
	resource []porcupine.Operation
}

// step is what a holder did: it got the seat, or took a write, with a token, or
// found that it still had it, or was refused.
type step struct {
	yes   bool
	token uint64
}

// exclusive says that a holder never finds that it has the seat after another
// holder got it. The loss or release of a seat is not a step.
var exclusive = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		s := input.(step)
		if s.yes {
			return s.token > state.(uint64), s.token
		}
		return s.token == state.(uint64), state
	},
}

// fenced says that a write is taken if and only if none with a higher token was.
var fenced = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		s := input.(step)
		if s.yes {
			return s.token >= state.(uint64), s.token
		}
		return s.token < state.(uint64), state
	},
}

func (c *contest) add(history *[]porcupine.Operation, client int, began time.Time, s step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*history = append(*history, porcupine.Operation{
		ClientId: client, Input: s, Call: int64(began.Sub(c.began)), Return: int64(time.Since(c.began)),
	})
}

// contend stands for the seat until the rounds are done.
func (c *contest) contend(t *testing.T, number int, me Contender) {
	random := rand.New(rand.NewPCG(1, uint64(number)))
	for {
		left := c.left.Add(-1)
		if left < 0 {
			return
		}
		if c.RestartEvery > 0 && left > 0 && left%int64(c.RestartEvery) == 0 {
			select {
			case c.restart <- struct{}{}:
			default: // it is restarting
			}
		}
		pause := c.PauseOneIn > 0 && random.IntN(c.PauseOneIn) == 0
		if !c.round(t, number, me, pause) {
			return
		}
	}
}

func (c *contest) round(t *testing.T, number int, me Contender, pause bool) bool {
	l, err := me.Sync.Leader("seat", sync.LeaderTTL(c.TTL))
	if err != nil {
		t.Error(err)
		return false
	}
	began := time.Now()
	seat, err := l.Elect()
	for deadline := began.Add(patience); errors.Is(err, sync.ErrUnavailable) && time.Now().Before(deadline); {
		began = time.Now()
		seat, err = l.Elect()
	}
	if err != nil {
		t.Error(err)
		return false
	}
	token, err := seat.Token()
	if err != nil {
		c.lost.Add(1)
		return true // lost before it could be used
	}
	c.add(&c.seat, number, began, step{true, token})
	for range 3 {
		c.use(t, number, seat, token)
	}
	if pause {
		me.Pause(true)
		<-time.After(2 * c.TTL)
		c.write(number, token) // as if the pause came between looking and writing
		_, err := seat.Token()
		want(t, "token after a pause of twice the TTL", err, sync.ErrLost)
		me.Pause(false)
	}
	switch err := seat.Resign(); {
	case errors.Is(err, sync.ErrLost):
		c.lost.Add(1)
	case err != nil && !errors.Is(err, sync.ErrUnavailable):
		t.Error(err)
	}
	return true
}

func (c *contest) use(t *testing.T, number int, seat sync.Elected, token uint64) {
	began := time.Now()
	again, err := seat.Token()
	if err != nil {
		return
	}
	c.add(&c.seat, number, began, step{false, again})
	if again != token {
		t.Errorf("the token changed from %d to %d", token, again)
	}
	c.write(number, token)
}

func (c *contest) write(number int, token uint64) {
	began := time.Now()
	err := c.guard.Check(token)
	if errors.Is(err, fence.ErrStale) {
		c.stale.Add(1)
	}
	c.add(&c.resource, number, began, step{err == nil, token})
}
