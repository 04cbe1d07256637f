package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"
)

const stopPatience = 10 * time.Second

// place is where one instance lives: what its kind needs to write a command line or a configuration.
type place struct {
	bin   string
	dir   string
	extra []string // from Args
	ports ports
}

func (p *place) addr(i int) string { return p.ports[i].address() }

func (p *place) port(i int) string { return fmt.Sprint(p.ports[i].number) }

// instance is a server with a process of ours behind it.
type instance struct {
	kind  kind
	env   []string
	place *place

	mu   sync.Mutex
	proc *process
	down bool // killed by the test: its death is not a surprise
}

// portTaken is what the servers print when somebody outside took a port between our choice and their bind.
var portTaken = regexp.MustCompile(`(?i)address (is )?(already )?in use|BindException|failed to bind`)

// launch starts a server in a new directory on free ports, on others if these turn out to be taken.
func launch(ctx context.Context, k kind, bin string, req request) (*instance, error) {
	var errs []error
	for range 3 {
		inst, err := launchOnce(ctx, k, bin, req)
		if err == nil {
			return inst, nil
		}
		errs = append(errs, err)
		if !portTaken.MatchString(err.Error()) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func launchOnce(ctx context.Context, k kind, bin string, req request) (_ *instance, err error) {
	dir, err := os.MkdirTemp("", "go-platform-"+k.name+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	inst := &instance{kind: k, env: req.env, place: &place{bin: bin, dir: dir, extra: req.args}}
	defer func() {
		if err != nil {
			err = errors.Join(err, inst.release())
		}
	}()
	if inst.place.ports, err = reserve(k.ports); err != nil {
		return nil, err
	}
	if k.prepare != nil {
		if err := k.prepare(ctx, inst.place); err != nil {
			return nil, err
		}
	}
	if err := inst.run(ctx); err != nil {
		return nil, err
	}
	return inst, nil
}

// run starts the process and waits until it is ready.
func (i *instance) run(ctx context.Context) error {
	argv := append(i.kind.command(i.place), i.place.extra...)
	proc, err := startProcess(argv, i.env, i.place.dir, i.kind.quit)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, i.kind.patience)
	defer cancel()
	if err := waitReady(ctx, proc, func() error { return i.kind.ready(ctx, i.place) }); err != nil {
		proc.kill()
		return fmt.Errorf("%w; it printed:\n%s", err, tail(i.place.dir))
	}
	i.proc, i.down = proc, false
	return nil
}

// waitReady polls: no server has a better way to say that it is ready to all of its clients.
func waitReady(ctx context.Context, proc *process, ready func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ready()
		if last == nil && proc.running() {
			return nil
		}
		select {
		case <-proc.exited:
			return fmt.Errorf("it ended before it was ready (%v)", proc.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w; last answer: %w", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

func (i *instance) kill() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = true
	i.proc.kill()
}

// stillEnding is what a server prints when processes of its killed predecessor have not yet noticed.
var stillEnding = regexp.MustCompile(`pre-existing shared memory block`)

func (i *instance) restart(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = true // until it is ready again, whatever comes in between
	i.proc.stop(stopPatience)
	for end := time.Now().Add(i.kind.patience); ; {
		if err := os.Truncate(outputPath(i.place.dir), 0); err != nil {
			return fmt.Errorf("begin a new output: %w", err)
		}
		err := i.run(ctx)
		if err == nil || !stillEnding.MatchString(err.Error()) || time.Now().After(end) {
			return err
		}
	}
}

// close ends the server and removes what it left. A server that had died by itself is an error: the test
// that follows from it should say so.
func (i *instance) close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	var err error
	if !i.down && !i.proc.running() {
		err = fmt.Errorf("it ended during the test (%v); it printed:\n%s", i.proc.cmd.ProcessState, tail(i.place.dir))
	}
	i.proc.stop(stopPatience)
	return errors.Join(err, i.release())
}

func (i *instance) release() error {
	return errors.Join(i.place.ports.release(), os.RemoveAll(i.place.dir))
}
