package srv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go-micro.dev/v6/registry"
	"golang.org/x/sync/singleflight"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/db/internal/srv/records"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	openTimeout  = 30 * time.Second
	retryAfter   = time.Second      // how long a failure to open is remembered
	lookEvery    = 10 * time.Second // at the registry for databases that moved
	retireAfter  = time.Minute      // what calls and changes that wait have left where a database moved away from
	maxRemember  = 1000             // failures
	maxDatabases = 256              // open at a time, found at the registry
)

// database is an open one.
type database struct {
	driver.Store
	name   string
	outbox driver.Outbox // nil: it has none
	relay  *relay
	at     location
	wake   chan struct{} // the relay
	end    context.CancelFunc
}

// Changed has the change published: from the outbox, or by way of a queue in
// memory where there is none.
func (d *database) Changed(table, action string, w driver.Write) {
	if d.outbox == nil {
		d.relay.unsafe(d.name, table, action, w)
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

type failure struct {
	err   error
	until time.Time
}

type retired struct {
	*database
	since time.Time
}

// directory knows where databases live and keeps them open.
type directory struct {
	conf     *settings
	registry registry.Registry
	log      *slog.Logger
	relay    *relay
	flight   singleflight.Group

	mu      sync.RWMutex
	open    map[string]*database
	failed  map[string]failure
	retired []retired
	closed  bool
	life    context.Context // of relays
	end     context.CancelFunc
	relays  sync.WaitGroup
}

func newDirectory(conf *settings, reg registry.Registry, log *slog.Logger, r *relay) *directory {
	d := &directory{conf: conf, registry: reg, log: log, relay: r, open: make(map[string]*database), failed: make(map[string]failure)}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// find is get for records.Handler.
func (d *directory) find(ctx context.Context, name string) (records.Database, error) {
	opened, err := d.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// errUnknown is the error of a database that nobody has heard of.
func errUnknown(name string) error {
	return fmt.Errorf("%w: database %s: neither given by --database nor registered as %s%[2]s", rpcerr.ErrNotFound, name, db.RegistryPrefix)
}

// get returns an open database. A warm call does no I/O; a cold one waits for
// the database until ctx ends.
func (d *directory) get(ctx context.Context, name string) (*database, error) {
	d.mu.RLock()
	opened, failed := d.open[name], d.failed[name]
	d.mu.RUnlock()
	if opened != nil {
		return opened, nil
	}
	if time.Now().Before(failed.until) {
		return nil, failed.err
	}
	result := d.flight.DoChan(name, func() (any, error) {
		// Others wait too: it does not end with the first caller.
		opening, cancel := context.WithTimeout(d.life, openTimeout)
		defer cancel()
		return d.load(opening, name)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*database), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("open database %s: %w", name, ctx.Err())
	}
}

// load finds and opens the database, and remembers for a while that it could
// not.
func (d *directory) load(ctx context.Context, name string) (*database, error) {
	d.mu.RLock()
	known, count := d.open[name], len(d.open)
	d.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	l, c, err := d.locate(name)
	if err == nil && count >= maxDatabases+len(d.conf.databases) {
		err = fmt.Errorf("%w: database %s: %d are open already", rpcerr.ErrLimited, name, count)
	}
	if err == nil {
		var opened *database
		if opened, err = d.openAt(ctx, name, l, c); err == nil {
			return opened, nil
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed) >= maxRemember {
		clear(d.failed)
	}
	d.failed[name] = failure{err, time.Now().Add(retryAfter)}
	return nil, err
}

// locate returns where a database is. What was given by hand goes first, so that
// writing to the registry cannot move it.
func (d *directory) locate(name string) (location, credentials, error) {
	if given, ok := d.conf.databases[name]; ok {
		return given.location, given.credentials, nil
	}
	if !d.conf.discover {
		return location{}, credentials{}, errUnknown(name)
	}
	services, err := d.registry.GetService(db.RegistryPrefix + name)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return location{}, credentials{}, fmt.Errorf("%w: find database %s at the registry: %w", rpcerr.ErrUnavailable, name, err)
	}
	l, err := fromRegistry(name, services)
	if err == nil && l.driver == sqliteDriver {
		// At this code clients try another db-srv.
		err = fmt.Errorf("%w: database %s is a file of the db-srv at %v", rpcerr.ErrUnavailable, name, l.hosts)
	}
	return l, d.conf.credentials[name], err
}

func (d *directory) openAt(ctx context.Context, name string, l location, c credentials) (*database, error) {
	s, err := l.open(ctx, c, d.conf)
	if err != nil {
		if status := ctx.Err(); status != nil || !errors.Is(err, driver.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
		}
		return nil, fmt.Errorf("open database %s (%s): %w", name, l.driver, err)
	}
	opened := &database{Store: s, name: name, relay: d.relay, at: l, wake: make(chan struct{}, 1)}
	opened.outbox, _ = s.(driver.Outbox)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.Join(lifecycle.ErrStopped, s.Close())
	}
	if old := d.open[name]; old != nil { // its relay goes on
		d.retired = append(d.retired, retired{old, time.Now()})
	}
	var life context.Context
	life, opened.end = context.WithCancel(d.life)
	if opened.outbox != nil {
		d.relays.Go(func() { d.relay.run(life, opened) })
	}
	d.open[name] = opened
	delete(d.failed, name)
	d.log.Info("opened database", "name", name, "driver", l.driver, "hosts", l.hosts)
	return opened, nil
}

// keep opens the databases given by hand, whose outboxes may hold something,
// and follows those of the registry.
func (d *directory) keep(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	reported := make(map[string]bool)
	for {
		for name := range d.conf.databases {
			_, err := d.get(ctx, name)
			if err != nil && ctx.Err() == nil && !reported[name] {
				d.log.Warn("database cannot be opened, will go on trying", "name", name, "error", err)
			}
			reported[name] = err != nil
		}
		d.follow(ctx)
		d.retire(time.Now().Add(-retireAfter))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// follow opens databases again that moved. While the registry does not answer,
// or knows nothing, they stay where they are.
func (d *directory) follow(ctx context.Context) {
	d.mu.RLock()
	var found []*database
	for name, opened := range d.open {
		if _, given := d.conf.databases[name]; !given {
			found = append(found, opened)
		}
	}
	d.mu.RUnlock()
	for _, opened := range found {
		l, c, err := d.locate(opened.name)
		if err != nil || l.equal(opened.at) {
			continue
		}
		opening, cancel := context.WithTimeout(ctx, openTimeout)
		if _, err := d.openAt(opening, opened.name, l, c); err != nil {
			d.log.Warn("database moved, but does not answer there", "name", opened.name, "error", err)
		}
		cancel()
	}
}

// retire closes what was replaced before a time.
func (d *directory) retire(before time.Time) {
	d.mu.Lock()
	var over []retired
	for len(d.retired) > 0 && d.retired[0].since.Before(before) {
		over = append(over, d.retired[0])
		d.retired = d.retired[1:]
	}
	d.mu.Unlock()
	for _, r := range over {
		r.end()
		if r.waiting() {
			d.log.Warn("changes are left in the outbox where the database moved away from", "name", r.name, "hosts", r.at.hosts)
		}
		if err := r.Close(); err != nil {
			d.log.Warn("close database", "name", r.name, "error", err)
		}
	}
}

// waiting reports whether the outbox may hold changes.
func (d *database) waiting() bool {
	if d.outbox == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayWindow)
	defer cancel()
	found, err := d.outbox.Pending(ctx, 1)
	return len(found) > 0 || err != nil && !errors.Is(err, driver.ErrNoTable)
}

// close closes everything.
func (d *directory) close(context.Context) error {
	d.mu.Lock()
	d.closed = true
	open := d.open
	d.open = make(map[string]*database)
	d.mu.Unlock()
	d.end()
	d.relays.Wait()
	d.retire(time.Now().Add(time.Hour))
	var errs []error
	for _, opened := range open {
		errs = append(errs, opened.Close())
	}
	return errors.Join(errs...)
}

// ready tells which of the databases given by hand does not answer.
func (d *directory) ready(ctx context.Context) error {
	for name := range d.conf.databases {
		opened, err := d.get(ctx, name)
		if err == nil {
			err = opened.Ping(ctx)
		}
		if err != nil {
			return fmt.Errorf("database %s: %w", name, err)
		}
	}
	return nil
}
