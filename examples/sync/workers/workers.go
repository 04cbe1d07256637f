// Package workers is what the examples of sync share: three workers elect a
// leader, who writes to a ledger that checks fencing tokens. Each acts once more
// after it resigned, as one would that was paused: the ledger refuses.
package workers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	stdsync "sync"
	"syscall"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/fence"
)

// Maker makes the Sync of one worker.
type Maker func(...sync.Option) sync.Sync

// Main runs the example on a server until Ctrl-C and returns the exit code.
// Without a usual address there is no flag for one.
func Main(server, usual string, maker Maker) int {
	address := &usual
	if usual != "" {
		address = flag.String("address", usual, "`host:port` of "+server)
	}
	last := flag.Duration("for", 0, "how long to run; 0 is until Ctrl-C")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *last > 0 {
		ctx, cancel = context.WithTimeout(ctx, *last)
		defer cancel()
	}
	err := Run(ctx, maker, *address, os.Stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, sync.ErrUnavailable):
		fmt.Fprintf(os.Stderr, "is there %s at -address %s? %v\n", server, *address, err)
	default:
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// ledger is what only the leader may write to.
type ledger struct {
	guard fence.Guard
	mu    stdsync.Mutex
	out   io.Writer
}

func (l *ledger) write(token uint64, who, what string) error {
	return l.guard.Do(token, func() error { l.say(who, what+fmt.Sprintf(" (token %d)", token)); return nil })
}

func (l *ledger) say(who, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "%-8s %s\n", who, what) // a terminal that is gone
}

// Run is the example until ctx ends or a worker fails. An empty address is the
// usual one.
func Run(ctx context.Context, maker Maker, address string, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &ledger{out: out}
	var wg stdsync.WaitGroup
	var once stdsync.Once
	var failed error
	for i := range 3 {
		name := fmt.Sprintf("worker-%d", i+1)
		options := []sync.Option{sync.Service(&registry.Service{Name: "worker", Nodes: []*registry.Node{{Id: name}}})}
		if address != "" {
			options = append(options, sync.Nodes(address))
		}
		wg.Go(func() {
			if err := work(ctx, maker(options...), name, l); err != nil && ctx.Err() == nil {
				once.Do(func() { failed = fmt.Errorf("%s: %w", name, err) })
				cancel() // the others have the same trouble
			}
		})
	}
	wg.Wait()
	return failed
}

// work leads when it is its turn, for three writes, then lets others.
func work(ctx context.Context, s sync.Sync, name string, l *ledger) (err error) {
	if err := s.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	leader, err := s.Leader("ledger")
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		seat, err := leader.Elect(sync.WithContext(ctx))
		if err != nil {
			return err
		}
		token, err := seat.Token()
		if err != nil {
			continue
		}
		for i := range 3 {
			if err := l.write(token, name, fmt.Sprintf("entry %d", i+1)); err != nil {
				return err
			}
			pause(ctx, seat.Context(), 100*time.Millisecond)
		}
		if err := seat.Resign(); errors.Is(err, sync.ErrLost) {
			l.say(name, "was deposed")
		} else if err != nil {
			return err
		}
		// It acts once more, as if it had not noticed: the ledger knows better
		// as soon as somebody else wrote.
		pause(ctx, context.Background(), 150*time.Millisecond)
		if err := l.write(token, name, "late entry"); errors.Is(err, fence.ErrStale) {
			l.say(name, "late entry refused: "+err.Error())
		}
	}
	return nil
}

// pause ends early with either context.
func pause(a, b context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.Done():
	case <-b.Done():
	}
}
