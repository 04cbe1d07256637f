package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go-micro.dev/v6/registry"
	"golang.org/x/sync/singleflight"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
	locks "github.com/micro/go-platform/sync"
)

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// Queues is sync.Sync on a Store.
type Queues struct {
	*life
	store   Store
	options locks.Options
	node    *registry.Node

	ctx      context.Context // ends when Stop begins
	wg       sync.WaitGroup
	mu       sync.Mutex
	sessions map[time.Duration]*session
	owed     debts
	opening  singleflight.Group // by TTL

	leases, queues trouble // with renewing and reading them
}

// New returns the Sync of a store. open makes the store ready to be called; it may
// be nil. Stop closes the store.
func New(store Store, o locks.Options, open func() error) *Queues {
	q := &Queues{store: store, options: o, sessions: map[time.Duration]*session{}}
	hooks := lifecycle.Hooks{Check: o.Validate, Close: q.shut}
	if open != nil {
		hooks.Open = func(context.Context) error { return open() }
	}
	q.life = lifecycle.NewPlugin("sync", hooks)
	q.ctx = q.Life()
	q.node = &registry.Node{Id: uuid.NewString()}
	if o.Service != nil && len(o.Service.Nodes) > 0 {
		q.node = o.Service.Nodes[0]
	}
	return q
}

func (q *Queues) String() string { return q.store.String() }

// shut waits until every session has released what it holds and has ended, then
// closes the store. What could not be released is lost to those that wait for it,
// until its lease ends.
func (q *Queues) shut() error {
	q.mu.Lock()
	q.mu.Unlock() //nolint:staticcheck // work that began before the end of ctx is counted now
	done := make(chan struct{})
	go func() { q.wg.Wait(); close(done) }()
	timer := time.NewTimer(lifecycle.FlushTimeout)
	defer timer.Stop()
	var err error
	select {
	case <-done:
	case <-timer.C:
		err = fmt.Errorf("sync: %w", lifecycle.ErrStopTimeout)
	}
	return errors.Join(err, q.lost(), q.store.Close())
}

// begin announces work that Stop waits for, until wg.Done.
func (q *Queues) begin() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() != nil {
		return locks.ErrStopped
	}
	q.wg.Add(1)
	return nil
}

// run starts a goroutine that Stop waits for.
func (q *Queues) run(f func(context.Context)) error {
	if err := q.begin(); err != nil {
		return err
	}
	go func() {
		defer q.wg.Done()
		f(q.ctx)
	}()
	return nil
}

// session returns the session with this TTL, granting it if there is none. Callers
// that ask for it meanwhile share the answer; each waits as long as its ctx does.
func (q *Queues) session(ctx context.Context, ttl time.Duration) (*session, error) {
	if s := q.current(ttl); s != nil {
		return s, nil
	}
	opened := q.opening.DoChan(ttl.String(), func() (any, error) { return q.open(ttl) })
	select {
	case r := <-opened:
		s, _ := r.Val.(*session) // nil with an error
		return s, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (q *Queues) current(ttl time.Duration) *session {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s, ok := q.sessions[ttl]; ok && s.alive() {
		return s
	}
	return nil
}

func (q *Queues) open(ttl time.Duration) (*session, error) {
	if err := q.begin(); err != nil {
		return nil, err
	}
	defer q.wg.Done()
	if s := q.current(ttl); s != nil {
		return s, nil
	}
	ctx, cancel := lifecycle.Bound(q.ctx, callTimeout)
	defer cancel()
	s, err := grant(ctx, q, ttl)
	switch {
	case err == nil:
	case q.ctx.Err() != nil:
		return nil, locks.ErrStopped
	default:
		return nil, err
	}
	q.mu.Lock()
	q.sessions[ttl] = s
	q.mu.Unlock()
	if err := q.run(s.run); err != nil {
		s.end()
		_ = s.revoke() // it has no entries: its lease keeps nobody waiting
		return nil, err
	}
	return s, nil
}

func (q *Queues) forget(s *session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sessions[s.asked] == s {
		delete(q.sessions, s.asked)
	}
}

// value is what an entry says of its contender.
type value struct {
	Shared bool           `json:"shared,omitempty"`
	Slots  int            `json:"slots,omitempty"` // of a semaphore
	Node   *registry.Node `json:"node,omitempty"`  // of a candidate
}

// parse never fails: an entry that somebody else wrote excludes all others.
func parse(e Entry) (v value) {
	if json.Unmarshal(e.Value, &v) != nil {
		return value{}
	}
	return v
}

// claim is what a contender wants.
type claim struct {
	queue string // key
	ttl   time.Duration
	value value
}

// turn reports whether a contender with these ahead of it has what it wants, and
// if not, which entry it waits for; an entry without a name is any change.
func (c claim) turn(ahead []Entry) (mine bool, wait Ref, err error) {
	wait.Queue = c.queue
	blocking := 0
	for _, e := range ahead {
		v := parse(e)
		if v.Slots != c.value.Slots {
			return false, wait, fmt.Errorf("%w: another contender has Slots %d, this one %d", locks.ErrConflict, max(v.Slots, 1), max(c.value.Slots, 1))
		}
		if c.value.Shared && v.Shared {
			continue
		}
		blocking, wait.Name, wait.Order = blocking+1, e.Name, e.Order
	}
	if blocking < max(c.value.Slots, 1) {
		return true, wait, nil
	}
	if c.value.Slots > 1 {
		wait.Name, wait.Order = "", 0
	}
	return false, wait, nil
}

// acquire waits until the claim is met. The caller's context bounds it.
func (q *Queues) acquire(caller context.Context, c claim) (*ticket, error) {
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	defer context.AfterFunc(q.ctx, cancel)()
	data, err := json.Marshal(c.value)
	if err != nil {
		return nil, err
	}
	for {
		t, state, err := q.enter(ctx, c, data)
		if err == nil {
			err = q.await(ctx, c, t, state)
		}
		switch {
		case err == nil:
			return t, nil
		case q.ctx.Err() != nil:
			return nil, locks.ErrStopped
		case caller.Err() != nil:
			return nil, caller.Err()
		case errors.Is(err, errDisplaced): // lost its place: from the end again
		case errors.Is(err, locks.ErrConflict), errors.Is(err, locks.ErrStopped):
			return nil, err
		default:
			return nil, q.unavailable(err)
		}
	}
}

// unavailable hides the deadline of one call, which a caller shall not take for
// its own, and tells where the server should be.
func (q *Queues) unavailable(err error) error {
	kind := locks.ErrUnavailable
	if q.store.Forbidden(err) {
		kind = locks.ErrForbidden
	}
	where := strings.Join(append([]string{q.String()}, q.options.Nodes...), " ")
	return fmt.Errorf("%w: %s: %s", kind, clean.URLs(where), clean.URLs(err.Error()))
}

// errDisplaced is returned when a contender has to begin again.
var errDisplaced = errors.New("place in the queue lost")

// enter puts an entry at the end of the queue, within callTimeout.
func (q *Queues) enter(ctx context.Context, c claim, data []byte) (*ticket, Queue, error) {
	ctx, cancel := lifecycle.Bound(ctx, callTimeout)
	defer cancel()
	s, err := q.session(ctx, c.ttl)
	if err != nil {
		return nil, Queue{}, err
	}
	t := s.join(c.queue)
	if t == nil {
		q.forget(s)
		return nil, Queue{}, errDisplaced
	}
	state, err := s.enter(ctx, t, data)
	switch {
	case err == nil:
		return t, state, nil
	case errors.Is(err, ErrGone):
		s.drop(t)
		s.expire() // the next contender grants another one
		return nil, Queue{}, errDisplaced
	case errors.Is(err, ErrExists): // one that nobody here knows of
		s.doubt(t)
		return nil, Queue{}, errDisplaced
	}
	s.doubt(t)
	return nil, Queue{}, err
}

// await waits for the ticket's turn. It outlives outages of the server as long
// as the session does.
func (q *Queues) await(ctx context.Context, c claim, t *ticket, state Queue) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	defer func() {
		if err != nil {
			q.abandon(t)
		}
	}()
	var pause backoff.Backoff
	for {
		ahead, me, ok := state.split(t.ref.Name)
		if !ok || me.Order != t.ref.Order {
			return errDisplaced
		}
		mine, wait, err := c.turn(ahead)
		if err != nil {
			return err
		}
		if mine && !t.isLost() {
			return nil
		}
		for {
			err := t.session.store.Wait(ctx, wait, state)
			if err == nil {
				state, err = q.read(ctx, c.queue)
			}
			if t.isLost() {
				return errDisplaced
			}
			if err == nil {
				pause.Reset()
				break
			}
			q.unreadable(ctx, err)
			if err := pause.Wait(ctx); err != nil {
				return errDisplaced
			}
		}
	}
}

// read lists a queue within callTimeout.
func (q *Queues) read(ctx context.Context, key string) (Queue, error) {
	ctx, cancel := lifecycle.Bound(ctx, callTimeout)
	defer cancel()
	return q.store.List(ctx, key)
}

// unreadable tells of a queue that is waited for and cannot be read.
func (q *Queues) unreadable(ctx context.Context, err error) {
	if ctx.Err() == nil {
		q.queues.tell(q.options.Logger, "sync: waits for a server", "store", q.String(), "error", err)
	}
}

// abandon takes back an entry that its owner does not want any more.
func (q *Queues) abandon(t *ticket) {
	t.session.abandon(t)
	t.end(locks.ErrNotHeld)
}

func (q *Queues) giveBack(ctx context.Context, name string, t *ticket) error {
	return q.options.Trace(ctx, name, func(ctx context.Context) error { return q.release(ctx, t) })
}

// release gives back what a ticket holds. One that is lost goes with its
// session.
func (q *Queues) release(caller context.Context, t *ticket) error {
	if _, err := t.check(); err != nil {
		return err
	}
	if !t.session.drop(t) {
		return locks.ErrLost
	}
	t.end(locks.ErrNotHeld)
	ctx, cancel := lifecycle.Bound(caller, lifecycle.FlushTimeout)
	defer cancel()
	err := t.session.leave(ctx, t)
	if err == nil {
		return nil
	}
	if err = q.unavailable(err); caller.Err() != nil {
		err = caller.Err()
	}
	return fmt.Errorf("freed later, at the latest when its lease ends: %w", err)
}

// callTimeout bounds what is asked of a server that may not answer.
const callTimeout = 5 * time.Second

func (q *Queues) key(kind, id string) string { return Key(q.options.Namespace, kind, id) }

// Key returns the key of what is called id. None is the beginning of another
// one up to a slash: entries of a queue are not those of another.
func Key(namespace, kind, id string) string {
	return Root(namespace) + kind + "/" + strings.NewReplacer("=", "=3D", "/", "=2F", "%", "=25").Replace(id)
}

// Root is what all keys of a namespace begin with. Consul decodes percent signs
// in the path of a request, but not in a transaction: there are none.
func Root(namespace string) string {
	return strings.TrimSuffix(strings.ReplaceAll(namespace, "%", "=25"), "/") + "/"
}
