package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/lifecycle"
)

// Config says how a Log keeps its records.
type Config struct {
	Retention time.Duration // records older than that are removed; 0: none
	MaxBytes  int64         // the oldest records beyond that are removed; 0: none
	Logger    *slog.Logger
}

const (
	maxBatch      = 1000    // entries of one commit
	maxBatchBytes = 8 << 20 // of its records, give or take one request
	saveInterval  = 20 * time.Millisecond
	pollInterval  = 100 * time.Millisecond
	commitTimeout = 30 * time.Second
)

// Log is an open log. All methods are safe for concurrent use.
type Log struct {
	store    Store
	conf     Config
	all      plugin.Filter // of every type
	requests chan *request
	tail     *tail
	expired  atomic.Uint64
	clock    int64      // of the newest record, the writer's; it never goes back
	writing  sync.Mutex // held across the store's writes
	group    lifecycle.Group
	written  chan struct{}         // closed when the writer is gone
	trouble  atomic.Pointer[error] // why the last commit failed; nil if it succeeded
	doubt    atomic.Bool           // a commit failed that may have been done
	done     chan struct{}         // closed when the log ends, by Stop or by fencing
	end      sync.Once
	why      error // read after done

	mu    sync.Mutex
	subs  map[string]*subscription
	dirty map[*subscription]struct{}
	gone  []string // names whose states are to be removed
	save  chan struct{}
	runs  sync.WaitGroup // dispatchers
}

type request struct {
	entries []*Entry
	bytes   int
	save    bool
	probe   bool // commit even if there is nothing to write
	done    chan error
}

// Open returns a log on the store, which it closes at Stop.
func Open(ctx context.Context, store Store, conf Config) (*Log, error) {
	expired, last, err := store.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	l := &Log{
		store: store, conf: conf,
		requests: make(chan *request, maxBatch),
		tail:     newTail(last),
		written:  make(chan struct{}),
		done:     make(chan struct{}),
		subs:     make(map[string]*subscription),
		dirty:    make(map[*subscription]struct{}),
		save:     make(chan struct{}, 1),
	}
	l.expired.Store(expired)
	if l.all, err = plugin.NewFilter("*", event.ReservedPrefix+"*"); err != nil {
		return nil, err
	}
	states, err := store.States(ctx)
	if err != nil {
		return nil, err
	}
	for _, st := range states {
		s, err := restore(l, st)
		if err != nil {
			return nil, fmt.Errorf("subscription %q: %w", st.Name, err)
		}
		l.subs[st.Name] = s
	}
	if l.clock, err = l.newest(ctx, last); err != nil {
		return nil, err
	}
	loops := []func(context.Context){l.write, l.saver, l.look}
	if conf.Retention > 0 || conf.MaxBytes > 0 {
		loops = append(loops, l.expire)
	}
	return l, l.group.Start(loops...)
}

// newest returns when the last record was appended, 0 if it is not there.
func (l *Log) newest(ctx context.Context, last uint64) (int64, error) {
	if last == 0 {
		return 0, nil
	}
	found, _, err := l.store.Read(ctx, last-1, l.all, 1)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return found[0].Appended, nil
}

// ID names the log.
func (l *Log) ID() string { return l.store.ID() }

// Last returns the last sequence.
func (l *Log) Last() uint64 { return l.tail.end() }

// Done is closed when the log has ended; Err tells why.
func (l *Log) Done() <-chan struct{} { return l.done }

// Ready returns why the log cannot be written: it has ended, or the last commit
// failed. After a failure a commit is tried every LifeSign.
func (l *Log) Ready() error {
	if err := l.Err(); err != nil {
		return err
	}
	if failed := l.trouble.Load(); failed != nil {
		return *failed
	}
	return nil
}

// committed notes how a commit ended, and logs when that changes.
func (l *Log) committed(err error) {
	was := l.trouble.Load()
	switch {
	case err == nil && was != nil:
		l.trouble.Store(nil)
		l.conf.Logger.Info("the log is written again")
	case err != nil:
		l.trouble.Store(&err)
		l.doubt.Store(true)
		if was == nil && !errors.Is(err, ErrFenced) { // fenced logs that
			l.conf.Logger.Error("the log cannot be written, publishers are refused", "error", err)
		}
	}
}

// Err returns nil until the log has ended.
func (l *Log) Err() error {
	select {
	case <-l.done:
		return l.why
	default:
		return nil
	}
}

func (l *Log) finish(why error) { l.end.Do(func() { l.ended(why) }) }

func (l *Log) ended(why error) {
	l.why = fmt.Errorf("%w: %w", event.ErrUnavailable, why)
	close(l.done)
}

// Stop saves what the subscriptions know and closes the store.
func (l *Log) Stop() error {
	l.finish(event.ErrStopped)
	l.runs.Wait()
	err := l.group.Stop(lifecycle.FlushTimeout)
	return errors.Join(err, l.store.Close())
}

// Append returns when the valid entries are on disk. It sets Sequence,
// Duplicate and Err of each. An error means that nobody knows, or that none
// is.
func (l *Log) Append(ctx context.Context, entries []*Entry) error {
	req := &request{done: make(chan error, 1)}
	for _, e := range entries {
		if e.Err == nil {
			req.entries = append(req.entries, e)
			req.bytes += proto.Size(e.Record)
		}
	}
	if len(req.entries) == 0 {
		return nil
	}
	return l.request(ctx, req)
}

func (l *Log) request(ctx context.Context, req *request) error {
	select {
	case <-l.done:
		return l.why
	default:
	}
	select {
	case l.requests <- req:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.why
	}
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.written: // the writer is gone, and so is what it did not see
		select {
		case err := <-req.done:
			return err
		default:
			return l.why
		}
	}
}

// write is the one writer. While it commits, requests gather: they share the
// next commit, which is why many publishers cost hardly more than one.
func (l *Log) write(ctx context.Context) {
	defer close(l.written)
	for {
		select {
		case <-ctx.Done():
			l.last()
			return
		case first := <-l.requests:
			l.commit(context.WithoutCancel(ctx), l.gather(first))
		}
	}
}

// last saves the states a last time and refuses the requests that wait.
func (l *Log) last() {
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	l.commit(ctx, []*request{{save: true, done: make(chan error, 1)}})
	for {
		select {
		case req := <-l.requests:
			req.done <- l.why
		default:
			return
		}
	}
}

func (l *Log) gather(first *request) []*request {
	all, count, bytes := []*request{first}, len(first.entries), first.bytes
	for count < maxBatch && bytes < maxBatchBytes {
		select {
		case req := <-l.requests:
			all = append(all, req)
			count += len(req.entries)
			bytes += req.bytes
		default:
			return all
		}
	}
	return all
}

func (l *Log) commit(ctx context.Context, reqs []*request) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var entries []*Entry
	save, probe := false, false
	now := max(time.Now().UnixNano(), l.clock) // a search by time relies on it
	l.clock = now
	for _, req := range reqs {
		for _, e := range req.entries {
			e.Record.Appended = now
		}
		entries = append(entries, req.entries...)
		save, probe = save || req.save, probe || req.probe
	}
	var states []State
	var subs []*subscription
	if save {
		states, subs = l.states()
	}
	var err error
	if len(entries)+len(states) > 0 || probe {
		err = l.put(ctx, entries, states)
		l.committed(err)
	}
	if err != nil {
		l.unsaved(subs, states)
		l.fenced(err)
		err = fmt.Errorf("%w: append: %w", event.ErrUnavailable, err)
	}
	for _, req := range reqs {
		req.done <- err
	}
}

// put writes and shows readers what was appended. Both are one step to Erase:
// what is erased in between would be shown after all.
func (l *Log) put(ctx context.Context, entries []*Entry, states []State) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	err := l.store.Commit(ctx, entries, states)
	if err == nil {
		l.publish(entries)
	}
	return err
}

// fenced ends the log when another process writes it by now, or it is gone.
func (l *Log) fenced(err error) {
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrReplaced) {
		l.end.Do(func() {
			l.conf.Logger.Error("this event-srv no longer writes", "error", err)
			l.ended(err)
		})
	}
}

// publish shows what was appended to readers.
func (l *Log) publish(entries []*Entry) {
	fresh := make([]*pb.Record, 0, len(entries))
	var last uint64
	for _, e := range entries {
		last = max(last, e.Sequence)
		if e.Err == nil && !e.Duplicate {
			if e.Record.Sequence != e.Sequence { // a store that shows records already has set it
				e.Record.Sequence = e.Sequence
			}
			fresh = append(fresh, e.Record)
		}
	}
	l.tail.add(fresh)
	l.tail.extend(last) // of a commit that was done although it returned an error
}

// states takes the states that changed.
func (l *Log) states() (states []State, subs []*subscription) {
	l.mu.Lock()
	for _, name := range l.gone {
		states = append(states, State{Name: name})
	}
	for s := range l.dirty {
		subs = append(subs, s)
	}
	clear(l.dirty)
	l.gone = nil
	l.mu.Unlock() // a subscription holds its own mutex when it asks for ours
	for _, s := range subs {
		states = append(states, s.state())
	}
	return states, subs
}

// unsaved has what could not be saved saved by somebody else.
func (l *Log) unsaved(subs []*subscription, states []State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range subs {
		l.dirty[s] = struct{}{}
	}
	for _, st := range states {
		if st.Data == nil {
			l.gone = append(l.gone, st.Name)
		}
	}
	if len(states) > 0 {
		l.saveSoon()
	}
}

func (l *Log) saveSoon() {
	select {
	case l.save <- struct{}{}:
	default:
	}
}

// changed has the subscription saved soon.
func (l *Log) changed(s *subscription) {
	l.mu.Lock()
	if l.subs[s.name] == s {
		l.dirty[s] = struct{}{}
	}
	l.mu.Unlock()
	l.saveSoon()
}

// Flush returns when the states of the subscriptions are on disk.
func (l *Log) Flush(ctx context.Context) error {
	return l.request(ctx, &request{save: true, done: make(chan error, 1)})
}

// saver saves states that changed, many settlements at once: what it had no
// time for when the process was killed is delivered again.
func (l *Log) saver(ctx context.Context) {
	wait := backoff.Backoff{Min: saveInterval, Max: 5 * time.Second}
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.save:
		}
		if !lifecycle.Sleep(ctx, saveInterval) {
			return
		}
		err := l.Flush(ctx)
		switch {
		case err == nil:
			failing = false
			wait.Reset()
			continue
		case ctx.Err() != nil || l.Err() != nil:
			return
		case !failing:
			l.conf.Logger.Error("cannot save what was settled, will retry", "error", err)
			failing = true
		}
		if wait.Wait(ctx) != nil { // unsaved has it done again
			return
		}
	}
}

// look sees what others do to the store: what they appended, where they share
// it, and that one of them has taken it over, which a log that has nothing to
// write would not hear of otherwise.
func (l *Log) look(ctx context.Context) {
	every := LifeSign
	if l.store.Shared() {
		every = pollInterval
	}
	for lifecycle.Sleep(ctx, every) {
		if err := l.learn(ctx); err != nil {
			l.fenced(err) // whoever reads or appends is told
		}
		if l.doubt.Load() {
			l.retry(ctx)
		}
	}
}

// retry tries whether commits work again, and shows what one of those that failed
// has done all the same: nobody may append anything for a long time.
func (l *Log) retry(ctx context.Context) {
	if l.trouble.Load() != nil && l.request(ctx, &request{probe: true, done: make(chan error, 1)}) != nil {
		return // committed notes it
	}
	l.doubt.Store(false) // before it looks
	_, last, err := l.store.Bounds(ctx)
	if err != nil {
		l.doubt.Store(true)
		return
	}
	l.tail.extend(last)
}

// learn hears what others appended to a shared store, and what was removed
// from it without our doing.
func (l *Log) learn(ctx context.Context) error {
	expired, last, err := l.store.Bounds(ctx)
	if err == nil && l.store.Shared() {
		l.expired.Store(expired)
		l.tail.extend(last)
	}
	return err
}
