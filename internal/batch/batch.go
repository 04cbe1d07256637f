// Package batch is the bounded queue with one sender that every plugin with a
// remote end uses: adding never blocks, overflow is counted, a failing server
// is retried with backoff while newer items wait, and stopping flushes within
// a bound.
package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

var (
	// ErrFull is returned by Add when the item was dropped because the queue
	// was full.
	ErrFull = errors.New("queue full")
	// ErrNever is wrapped by the error of a Send that will fail again however
	// often it is tried. The queue then sends the items in halves, until it knows
	// which of them is at fault, and drops and counts that one.
	ErrNever = errors.New("can never be sent")
)

// Config says what a Queue does. Name and Send are required.
type Config[T any] struct {
	Name     string        // what the items are, for messages: "spans"
	One      string        // one of them, default Name without its last letter
	Size     int           // most items of one Send, default 100
	Load     int           // most weight of one Send, in the unit of Weigh, but for a heavier item, which goes alone; 0: none
	Interval time.Duration // longest an item waits for company, default 5 s
	Capacity int           // items held before Add drops, default 100 × Size
	Limit    int           // weight held before Add drops, in the unit of Weigh; 0: none
	Timeout  time.Duration // bound of one Send, default 5 s
	Logger   *slog.Logger  // for loss and recovery, default slog.Default
	// Send delivers the items; an error means that none arrived and that the
	// same items come again, unless it wraps ErrNever. A panic is an ErrNever. It
	// must not keep the slice.
	Send func(ctx context.Context, items []T) error
	// Lost, if not nil, is handed the items that were queued and are given up, at
	// Stop or because of an ErrNever.
	Lost func(items []T)
	// Eager sends whenever the sender is free instead of waiting for company:
	// items gather while it is not.
	Eager bool
	// Weigh is the weight of an item, its bytes say; needed with Limit and Load.
	// An item heavier than Limit is taken when the queue is empty.
	Weigh func(item T) int
}

// Queue is a bounded queue with one sender. Adding is safe for concurrent use.
type Queue[T any] struct {
	conf  Config[T]
	lost  loss.Counter
	group lifecycle.Group
	wake  chan struct{}
	flush chan chan error
	ended chan struct{} // closed when the sender takes no more requests
	end   sync.Once

	mu      sync.Mutex
	ring    []T // of Capacity; count items from head on
	head    int
	count   int
	weight  int
	stopped bool
	space   chan struct{} // closed when room is made; nil while nobody waits

	pending  []T          // the batch in flight, owned by the sender
	progress bool         // a batch was sent since the last look, owned by the sender
	never    loss.Counter // items that can never be sent
	inFlight atomic.Int64 // its length, until it arrived or was counted as lost: a Stop gives a slow sender up

	failure atomic.Pointer[error] // of the last Send, nil when it succeeded
	refusal atomic.Pointer[error] // of the last item that can never be sent
}

// New returns a queue that holds items from now on and sends them after Start.
func New[T any](conf Config[T]) *Queue[T] {
	if conf.Size <= 0 {
		conf.Size = 100
	}
	if conf.Interval <= 0 {
		conf.Interval = 5 * time.Second
	}
	if conf.Capacity <= 0 {
		conf.Capacity = 100 * conf.Size
	}
	if conf.Timeout <= 0 {
		conf.Timeout = 5 * time.Second
	}
	if conf.One == "" {
		conf.One = strings.TrimSuffix(conf.Name, "s")
	}
	conf.Size = min(conf.Size, conf.Capacity)
	return &Queue[T]{
		conf:    conf,
		wake:    make(chan struct{}, 1),
		flush:   make(chan chan error),
		ended:   make(chan struct{}),
		ring:    make([]T, conf.Capacity),
		pending: make([]T, 0, conf.Size),
	}
}

// Start begins to send. It is idempotent; after Stop it returns
// lifecycle.ErrStopped.
func (q *Queue[T]) Start() error { return q.group.Start(q.run) }

// Add queues the item without ever blocking. It returns ErrFull or
// lifecycle.ErrStopped when the item was dropped; both are counted.
func (q *Queue[T]) Add(item T) error {
	_, err := q.add(item, false)
	if err != nil {
		q.lost.Add(1)
	}
	return err
}

// AddWait queues the item, waiting for room until ctx ends. An item it could
// not queue is counted as dropped.
func (q *Queue[T]) AddWait(ctx context.Context, item T) error {
	for {
		space, err := q.add(item, true)
		if errors.Is(err, ErrFull) {
			select {
			case <-space:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			q.lost.Add(1)
		}
		return err
	}
}

// add appends the item. When it is refused for want of room and the caller
// will wait, the channel tells when to try again.
func (q *Queue[T]) add(item T, wait bool) (<-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return nil, lifecycle.ErrStopped
	}
	weight := q.weigh(item)
	if q.count == len(q.ring) || q.conf.Limit > 0 && q.count > 0 && q.weight+weight > q.conf.Limit {
		if wait && q.space == nil {
			q.space = make(chan struct{})
		}
		q.hurry()
		return q.space, ErrFull
	}
	q.ring[(q.head+q.count)%len(q.ring)] = item
	q.count++
	q.weight += weight
	if q.conf.Eager || q.count%q.conf.Size == 0 {
		q.hurry()
	}
	return nil, nil
}

// hurry wakes the sender before its interval is over.
func (q *Queue[T]) hurry() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue[T]) weigh(item T) int {
	if q.conf.Weigh == nil {
		return 0
	}
	return q.conf.Weigh(item)
}

// Len returns how many items wait, without the batch in flight.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// Drop counts n items that the caller did not even try to add.
func (q *Queue[T]) Drop(n int) { q.lost.Add(n) }

// Dropped returns how many items were lost since the start.
func (q *Queue[T]) Dropped() uint64 { return q.lost.Total() + q.never.Total() }

// Flush sends what is queued now, at once and however long the sender would
// wait otherwise, and returns the sender's error, that of ctx, or
// lifecycle.ErrStopped when Stop comes first. Before Start it waits.
func (q *Queue[T]) Flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case q.flush <- reply:
	case <-q.ended:
		return lifecycle.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-q.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	default: // Stop gave up a sender that hangs
		return lifecycle.ErrStopped
	}
}

// Stop refuses further items, sends what is left within
// lifecycle.FlushTimeout and returns an error that matches lifecycle.ErrLost and
// says how many were lost meanwhile, those that can never be sent among them, and
// why. A queue that was never started loses what it
// holds.
func (q *Queue[T]) Stop() error {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	before, refused := q.lost.Total(), q.never.Total()
	err := q.group.Stop(lifecycle.FlushTimeout + 250*time.Millisecond)
	q.end.Do(func() { close(q.ended) })
	q.mu.Lock()
	q.lost.Add(q.count)
	if errors.Is(err, lifecycle.ErrStopTimeout) {
		q.lost.Add(int(q.inFlight.Swap(0)))
	}
	left := make([]T, 0, q.count)
	for ; q.count > 0; q.count-- {
		left = append(left, q.ring[q.head])
		q.head = (q.head + 1) % len(q.ring)
	}
	q.weight = 0
	q.freed()
	q.mu.Unlock()
	q.giveUp(left)
	lost, refused := q.lost.Total()-before, q.never.Total()-refused
	if lost+refused > 0 {
		return q.lossOf(lost, refused)
	}
	return err
}

func (q *Queue[T]) lossOf(lost, refused uint64) error {
	n, what, why := lost+refused, q.conf.Name, fmt.Sprintf("not sent within %v", lifecycle.FlushTimeout)
	if n == 1 {
		what = q.conf.One
	}
	failure := q.failure.Load()
	if lost == 0 {
		failure = q.refusal.Load()
	}
	if failure != nil && !errors.Is(*failure, context.Canceled) && !errors.Is(*failure, context.DeadlineExceeded) {
		why = clean.Error(*failure, 1<<10)
	}
	return fmt.Errorf("%w %d %s: %s", lifecycle.ErrLost, n, what, why)
}

// run is the one sender. A Send in flight when Stop comes may go on for
// lifecycle.FlushTimeout: to cancel it would send its items twice.
func (q *Queue[T]) run(ctx context.Context) {
	sending, cancel := context.WithCancel(context.Background())
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(lifecycle.FlushTimeout, cancel) })

	ticker := time.NewTicker(q.conf.Interval)
	defer ticker.Stop()
	recovery := recovery{wait: backoff.Backoff{Max: max(q.conf.Interval, time.Second)}}
	note := func(err error) {
		if ctx.Err() != nil { // the drain's affair
			return
		}
		if q.progress { // one of several servers is dead: no reason to slow down
			recovery.wait.Reset()
			q.progress = false
		}
		recovery.note(q.logger(), q.conf.Name, err)
	}
	for {
		wake := q.wake
		if recovery.again != nil {
			wake = nil
		}
		select {
		case <-ctx.Done():
			q.end.Do(func() { close(q.ended) })
			q.report()
			q.drain(sending)
			return
		case <-wake:
			note(q.sendAll(ctx, sending))
		case <-recovery.again:
			note(q.sendAll(ctx, sending))
		case <-ticker.C:
			q.report()
			if recovery.again == nil {
				note(q.sendAll(ctx, sending))
			}
		case reply := <-q.flush:
			err := q.sendAll(ctx, sending)
			note(err)
			reply <- err
		}
	}
}

// report logs bursts of loss. What the drain loses Stop tells.
func (q *Queue[T]) report() {
	q.lost.Report(q.logger(), q.conf.Name, "queue full")
	q.never.Report(q.logger(), q.conf.Name, "refused for good, or not fit to be sent")
}

// recovery remembers that the last Send failed and when to try again.
type recovery struct {
	wait  backoff.Backoff
	again <-chan time.Time
}

func (r *recovery) note(log *slog.Logger, name string, err error) {
	switch {
	case err != nil && r.again == nil:
		log.Warn("cannot send "+name+", will retry", "error", clean.Error(err, 1<<10))
	case err == nil && r.again != nil:
		log.Info("sending " + name + " again")
	}
	if err != nil {
		r.again = time.After(r.wait.Next())
		return
	}
	r.again = nil
	r.wait.Reset()
}

// lastTries is how often in a row the last flush may fail: more than once,
// since one of several servers may be dead, and not for ever, since a process
// that stops should not wait for a service that is gone.
const lastTries = 5

// drain is the last flush. What it cannot send is lost, as Stop tells.
func (q *Queue[T]) drain(sending context.Context) {
	wait := backoff.Backoff{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	for failed := 0; failed < lastTries; failed++ {
		left := q.left()
		if q.sendAll(sending, sending) == nil {
			break
		}
		if q.left() < left {
			failed = 0
		}
		if wait.Wait(sending) != nil {
			break
		}
	}
	// A batch is also left when sending was over before the drain began.
	q.lost.Add(int(q.inFlight.Swap(0))) // unless Stop, which did not wait, has counted it
	q.giveUp(q.pending)
	q.pending = q.pending[:0]
}

func (q *Queue[T]) giveUp(items []T) {
	if q.conf.Lost != nil && len(items) > 0 {
		q.conf.Lost(items)
	}
}

// left returns how many items are not sent yet.
func (q *Queue[T]) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count + len(q.pending)
}

// sendAll sends batch after batch until the queue is empty or a Send fails; the
// failed batch stays pending. It returns lifecycle.ErrStopped when ctx ends
// before.
func (q *Queue[T]) sendAll(ctx, sending context.Context) error {
	for q.take() {
		if ctx.Err() != nil {
			return lifecycle.ErrStopped
		}
		if err := q.deliver(sending); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends what is pending. After an error that is not ErrNever the items
// that did not arrive stay pending.
func (q *Queue[T]) deliver(ctx context.Context) error {
	for part := len(q.pending); part > 0; {
		err := q.send(ctx, q.pending[:part])
		switch {
		case err == nil:
			q.progress = true
		case !errors.Is(err, ErrNever):
			return err
		case part > 1:
			part = (part + 1) / 2
			continue
		default:
			q.refusal.Store(&err)
			q.never.Add(1)
			q.giveUp(q.pending[:1])
		}
		left := copy(q.pending, q.pending[part:])
		clear(q.pending[left:])
		q.pending = q.pending[:left]
		q.inFlight.Store(int64(left))
		part = left
	}
	return nil
}

func (q *Queue[T]) send(ctx context.Context, items []T) error {
	ctx, cancel := context.WithTimeout(ctx, q.conf.Timeout)
	defer cancel()
	err := q.call(ctx, items)
	q.failure.Store(nil)
	if err != nil {
		q.failure.Store(&err)
	}
	return err
}

// call is Send under recover: it is code of a plugin's author, in our goroutine.
func (q *Queue[T]) call(ctx context.Context, items []T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: it made the sender panic: %v", ErrNever, p)
		}
	}()
	return q.conf.Send(ctx, items)
}

// take makes one batch pending, unless one still is, and reports whether there
// is any.
func (q *Queue[T]) take() bool {
	if len(q.pending) > 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var zero T
	load := 0
	for n := min(q.count, q.conf.Size); n > 0; n-- {
		weight := q.weigh(q.ring[q.head])
		if load += weight; q.conf.Load > 0 && len(q.pending) > 0 && load > q.conf.Load {
			break
		}
		q.weight -= weight
		q.pending = append(q.pending, q.ring[q.head])
		q.ring[q.head] = zero
		q.head = (q.head + 1) % len(q.ring)
		q.count--
	}
	q.inFlight.Store(int64(len(q.pending)))
	q.freed()
	return len(q.pending) > 0
}

// freed wakes those that wait for room. The caller holds the mutex.
func (q *Queue[T]) freed() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

func (q *Queue[T]) logger() *slog.Logger {
	if q.conf.Logger != nil {
		return q.conf.Logger
	}
	return slog.Default()
}
