// Sync runs three workers that elect a leader, who writes to a ledger that
// checks fencing tokens. Each acts once more after it resigned, as one would that
// was paused: the ledger refuses.
//
//	consul agent -dev &                 # or -backend etcd, or -backend memory
//	go run ./examples/sync
package main

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

	"go-micro.dev/v5/registry"

	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/consul"
	"github.com/micro/go-platform/sync/etcd"
	"github.com/micro/go-platform/sync/fence"
	"github.com/micro/go-platform/sync/memory"
)

func main() {
	backend := flag.String("backend", "consul", "consul, etcd or memory")
	address := flag.String("address", "", "`host:port` of the server, empty for its usual one")
	last := flag.Duration("for", 0, "how long to run; 0 is until Ctrl-C")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *last > 0 {
		ctx, cancel = context.WithTimeout(ctx, *last)
		defer cancel()
	}
	newSync, err := choose(*backend, *address)
	if err == nil {
		err = run(ctx, newSync, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sync:", err)
		os.Exit(1)
	}
}

type maker func(...sync.Option) sync.Sync

func choose(backend, address string) (maker, error) {
	var nodes []sync.Option
	if address != "" {
		nodes = append(nodes, sync.Nodes(address))
	}
	switch backend {
	case "consul":
		return func(o ...sync.Option) sync.Sync { return consul.NewSync(append(o, nodes...)...) }, nil
	case "etcd":
		return func(o ...sync.Option) sync.Sync { return etcd.NewSync(append(o, nodes...)...) }, nil
	case "memory":
		return memory.NewServer().NewSync, nil
	}
	return nil, fmt.Errorf("-backend %q: want consul, etcd or memory", backend)
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

func run(ctx context.Context, newSync maker, out io.Writer) error {
	l := &ledger{out: out}
	var wg stdsync.WaitGroup
	errs := make(chan error, 3)
	for i := range 3 {
		name := fmt.Sprintf("worker-%d", i+1)
		wg.Go(func() {
			self := &registry.Service{Name: "worker", Nodes: []*registry.Node{{Id: name}}}
			if err := work(ctx, newSync(sync.Service(self)), name, l); err != nil && ctx.Err() == nil {
				errs <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
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
			select {
			case <-seat.Context().Done():
				l.say(name, "was deposed")
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		if err := seat.Resign(); err != nil && !errors.Is(err, sync.ErrLost) {
			return err
		}
		// It acts once more, as if it had not noticed: the ledger knows better
		// as soon as somebody else wrote.
		time.Sleep(150 * time.Millisecond)
		if err := l.write(token, name, "late entry"); errors.Is(err, fence.ErrStale) {
			l.say(name, "late entry refused: "+err.Error())
		}
	}
	return nil
}
