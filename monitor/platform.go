package monitor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
	"github.com/micro/go-platform/monitor/plugin"
	pb "github.com/micro/go-platform/monitor/proto"
)

// What the queue of a platform holds: transitions and windows of stats, so many
// to a report.
const (
	reportSize    = 16
	queueCapacity = 64
	sendTimeout   = 2 * time.Second
)

// life keeps the state machine out of what platform shows.
type life = lifecycle.Plugin

// platform is every Monitor of this package: checks, stats, the life of the
// service, and a queue of what is to be reported. State is read when a report
// is sent; only what must not be missed is queued.
type platform struct {
	*life
	*checker
	*collector
	opts        Options
	remote      *remote // nil with a reporter of the user's
	reporter    plugin.Reporter
	queue       *batch.Queue[event]
	void        atomic.Uint64 // empty events that the queue had no room for
	late        loss.Counter  // calls recorded after Stop
	group       lifecycle.Group
	incarnation string
	pokes       chan struct{}
	poked       atomic.Bool // an empty event is queued

	mu        sync.Mutex
	status    Status
	changedAt time.Time
	statusSeq uint64

	reportSeq uint64 // of the sender
	statsSeq  uint64 // of the loop
}

// event is a transition, a window of stats or, when empty, the wish to report
// the state as it is.
type event struct {
	status *pb.Status
	stats  *pb.Stats
}

func newPlatform(opts []Option) *platform {
	o := NewOptions(opts...)
	m := &platform{
		opts:        o,
		reporter:    o.Reporter,
		collector:   newCollector(min(max(o.MaxEndpoints, 1), maxEndpoints)),
		incarnation: rand.Text(),
		pokes:       make(chan struct{}, 1),
	}
	m.life = lifecycle.NewPlugin("monitor", lifecycle.Hooks{Check: o.Validate, Open: m.open, Close: m.close})
	m.checker = newChecker(m.Life(), o.Interval, m.evaluate)
	if m.reporter == nil {
		m.remote = newRemote(o)
		m.reporter = m.remote
	}
	m.queue = batch.New(batch.Config[event]{
		Name: "monitor reports", Size: reportSize, Capacity: queueCapacity,
		Timeout: sendTimeout, Logger: o.Logger, Send: m.send,
	})
	return m
}

func (m *platform) String() string { return m.reporter.String() }

func (m *platform) open(context.Context) error {
	loops := []func(context.Context){m.checker.loop, m.loop}
	if m.remote != nil {
		loops = append(loops, m.remote.watch)
		m.remote.open()
	}
	if err := m.group.Start(loops...); err != nil {
		return err
	}
	m.advance(StatusStarted)
	m.evaluate()
	return m.queue.Start()
}

// Drain implements Monitor.
func (m *platform) Drain() error {
	if err := m.Use(context.Background()); err != nil {
		return err
	}
	m.advance(StatusDraining)
	return nil
}

// RecordStat implements Stats.
func (m *platform) RecordStat(r Request, d time.Duration, err error) {
	if m.Use(context.Background()) != nil {
		m.late.Add(1)
		return
	}
	m.collector.RecordStat(r, d, err)
}

func (m *platform) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("monitor: %w", err))
		}
	}
	add(m.group.Stop(lifecycle.FlushTimeout))
	add(m.queue.Stop())
	if m.remote != nil {
		m.remote.held.Close()
	}
	if hung := m.checker.hung(ctx); len(hung) > 0 {
		add(fmt.Errorf("health checks still run: %s", strings.Join(hung, ", ")))
	}
	return errors.Join(errs...)
}

// Dropped implements Monitor.
func (m *platform) Dropped() uint64 {
	lost := m.queue.Dropped() - m.void.Load() + m.late.Total()
	if m.remote != nil {
		lost += m.remote.lost.Load()
	}
	return lost
}

// NotReady implements Monitor.
func (m *platform) NotReady(node string) bool {
	if m.remote == nil {
		return false
	}
	if node != "" { // ReadyFilter only announces that it will ask
		_ = m.Use(context.Background()) // nothing is known of any node, then
	}
	return m.remote.notReady(node)
}

// Health implements Monitor.
func (m *platform) Health() Health {
	o := m.opts.Server.Options()
	m.mu.Lock()
	h := Health{Service: o.Name, Node: o.Name + "-" + o.Id, Status: m.status}
	m.mu.Unlock()
	h.Checks = m.checker.states()
	h.assess()
	return h
}

// advance takes the service to a later status and queues the transition.
func (m *platform) advance(to Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !to.after(m.status) {
		return
	}
	m.status, m.changedAt = to, time.Now()
	m.statusSeq++
	transition := event{status: m.wireStatus(m.status, m.changedAt, m.statusSeq)}
	_ = m.queue.Add(transition) // refused is counted, and Stop says so
	m.poke()
}

// evaluate is called after checks changed.
func (m *platform) evaluate() {
	m.mu.Lock()
	starting := m.status == StatusStarted
	m.mu.Unlock()
	if starting && m.checker.started() {
		m.advance(StatusRunning)
	}
	m.poke()
}

func (m *platform) poke() {
	select {
	case m.pokes <- struct{}{}:
	default:
	}
}

// loop reports at the interval, and at once after a change.
func (m *platform) loop(ctx context.Context) {
	// Never later than the interval that the report names.
	next := func() time.Duration { return m.opts.Interval - randv2.N(m.opts.Interval/5) }
	timer := time.NewTimer(next())
	defer timer.Stop()
	for {
		var window []event
		select {
		case <-ctx.Done():
			m.end()
			return
		case <-timer.C:
			window = m.addWindow()
			timer.Reset(next())
		case <-m.pokes:
			m.addState()
		}
		m.flush(ctx)
		m.publish(ctx, window)
	}
}

// end is the last thing the loop does. The queue sends it afterwards.
func (m *platform) end() {
	window := m.addWindow()
	m.advance(StatusDraining)
	m.advance(StatusStopped)
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	m.publish(ctx, window)
}

// publish feeds the topics while the server is away.
func (m *platform) publish(ctx context.Context, window []event) {
	if m.remote != nil && m.remote.down.Load() {
		m.remote.publish(ctx, m.report(0, window))
	}
}

// flush has the queue sent now.
func (m *platform) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	_ = m.queue.Flush(ctx) // the queue's to log and to repeat
}

// addState queues the wish to report the state.
func (m *platform) addState() {
	if m.poked.Swap(true) {
		return
	}
	if err := m.queue.Add(event{}); err != nil {
		m.void.Add(1) // no loss: every report tells the state
		m.poked.Store(false)
	}
}

// addWindow queues the stats since the last window.
func (m *platform) addWindow() []event {
	window := event{stats: m.window()}
	_ = m.queue.Add(window) // refused is counted
	return []event{window}
}

// send is the queue's sender.
func (m *platform) send(ctx context.Context, events []event) error {
	m.poked.Store(false)
	m.reportSeq++
	return m.reporter.Report(ctx, m.report(m.reportSeq, events))
}
