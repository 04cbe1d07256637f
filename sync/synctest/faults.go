package synctest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend/skip"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/sync"
)

// Remote is a server that the suite may harm: nobody else uses it.
type Remote struct {
	Server
	Addr string
	// At returns a Sync that reaches the server at the addresses.
	At func(opts ...sync.Option) sync.Sync
	// Kill ends the server as a crash would, Restart brings it back with its
	// data.
	Kill, Restart func(tb testing.TB)
	// Wipe brings the server back after Kill as one that knows nothing.
	Wipe func(tb testing.TB)
	// Remove removes everything below the namespace, as an operator would.
	Remove func(tb testing.TB, namespace string)
}

// RunFaults is the suite of what happens when something dies.
func RunFaults(t *testing.T, r Remote) {
	r.New = func(_ testing.TB, opts ...sync.Option) sync.Sync { return r.At(append(opts, sync.Nodes(r.Addr))...) }
	for _, test := range []struct {
		name string
		run  func(*testing.T, Remote)
	}{
		{"Failover", testFailover}, {"NetworkCut", testCut}, {"StopCut", testStopCut},
		{"LeaderDies", testLeaderDies}, {"Paused", testPaused},
		{"Removed", testRemoved}, {"Restart", testRestart}, {"Dead", testDead}, {"DataLost", testDataLost},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, r) })
	}
}

// takeover is how long after its last sign of life the lease of a holder ends
// at the latest, and another one has it.
func (s Server) takeover() time.Duration {
	return time.Duration(float64(s.TTL)*s.Expiry) + time.Second
}

func testFailover(t *testing.T, r Remote) {
	a := r.At(sync.Nodes("127.0.0.1:1", r.Addr))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	l := newLock(t, a, fresh())
	acquire(t, l)
	release(t, l)
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
}

// testStopCut: what Stop cannot give back is a loss, not a silence, and free when
// its lease ends.
func testStopCut(t *testing.T, r Remote) {
	link := netcut.New(t, r.Addr)
	other, cut := r.New.Start(t), r.At(sync.Nodes(link.Addr))
	id := fresh()
	acquire(t, newLock(t, cut, id, sync.LockTTL(r.TTL)))
	waiting := r.queued(t, newLock(t, other, id, sync.LockTTL(r.TTL)))
	link.Cut()
	since := startMetronome(t)
	err := cut.Stop()
	want(t, "Stop without a server", err, sync.ErrLost)
	if err != nil && !strings.Contains(err.Error(), "lost 1 release") {
		t.Errorf("Stop: %v, want the number of what it lost", err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	since.within(t, "handed over", r.takeover())
}

func testCut(t *testing.T, r Remote) {
	link := netcut.New(t, r.Addr)
	other, cut := r.New.Start(t), r.At(sync.Nodes(link.Addr))
	if err := cut.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cut.Stop() }() // what it could not give back it says
	id := fresh()
	held, next := newLock(t, cut, id, sync.LockTTL(r.TTL)), newLock(t, other, id, sync.LockTTL(r.TTL))
	token := acquire(t, held)
	waiting := r.queued(t, next)

	link.Cut()
	since := startMetronome(t)
	select {
	case <-held.Lost():
		since.within(t, "lost", r.TTL+time.Second)
	case err := <-waiting: // the clock knows before Lost is closed
		waiting <- err
	case <-time.After(patience):
		t.Fatal("never lost")
	}
	_, err := held.Token()
	want(t, "token after the loss", err, sync.ErrLost)
	want(t, "release after the loss", held.Release(), sync.ErrLost)
	if held.Context().Err() == nil {
		t.Error("the context did not end")
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	since.within(t, "handed over", r.takeover())
	if after, err := next.Token(); err != nil || after <= token {
		t.Errorf("token %d after %d, %v", after, token, err)
	}
	link.Heal()
	release(t, next)
	acquire(t, held) // the same object may try again
	release(t, held)
}

func testLeaderDies(t *testing.T, r Remote) {
	link := netcut.New(t, r.Addr)
	dying := r.At(sync.Nodes(link.Addr), service("a"))
	if err := dying.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dying.Stop() }() // it is cut off
	other := r.New.Start(t, service("b"))
	id := fresh()
	seat, err := newLeader(t, dying, id, sync.LeaderTTL(r.TTL)).Elect()
	if err != nil {
		t.Fatal(err)
	}
	next := newLeader(t, other, id, sync.LeaderTTL(r.TTL))
	elected := make(chan sync.Elected, 1)
	go func() {
		e, err := next.Elect()
		if err != nil {
			t.Error(err)
		}
		elected <- e
	}()
	eventually(t, patience, "a candidate", func() bool { st, _ := next.Status(); return st == sync.CandidateStatus })
	link.Cut()
	since := startMetronome(t)
	revoked, err := seat.Revoked()
	if err != nil {
		t.Fatal(err)
	}
	successor := <-elected
	_, lost := seat.Token()
	since.within(t, "next leader", r.takeover())
	want(t, "token when another one leads", lost, sync.ErrLost)
	eventually(t, patience, "told of the loss", func() bool { return closed(revoked) })
	want(t, "resign after the loss", seat.Resign(), sync.ErrLost)
	if err := successor.Resign(); err != nil {
		t.Error(err)
	}
}

func testRemoved(t *testing.T, r Remote) {
	a := r.New.Start(t, sync.Namespace("/removed"))
	l := newLock(t, a, fresh(), sync.LockTTL(r.TTL))
	acquire(t, l)
	r.Remove(t, "/removed")
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Fatal("never noticed that the entry was removed")
	}
	acquire(t, l)
	release(t, l)
}

func testRestart(t *testing.T, r Remote) {
	a, b := r.New.Start(t), r.New.Start(t)
	id := fresh()
	const ttl = 30 * time.Second
	held, next := newLock(t, a, id, sync.LockTTL(ttl)), newLock(t, b, id, sync.LockTTL(ttl))
	token := acquire(t, held)
	waiting := r.queued(t, next)
	seat := fresh()
	seen, err := newLeader(t, b, seat).Observe(sync.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if n := <-seen; n != nil {
		t.Errorf("leader %v of an empty seat", n)
	}
	r.Kill(t)
	r.Restart(t)
	elected, err := newLeader(t, a, seat, sync.LeaderTTL(ttl)).Elect()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-seen:
		if n == nil {
			t.Error("observed an empty seat")
		}
	case <-time.After(patience):
		t.Error("Observe ended with the server")
	}
	if err := elected.Resign(); err != nil {
		t.Error(err)
	}
	if again, err := held.Token(); err != nil || again != token {
		t.Errorf("token after the restart: %d, %v", again, err)
	}
	if len(waiting) > 0 {
		t.Errorf("two holders: %v", <-waiting)
	}
	release(t, held)
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	if after, err := next.Token(); err != nil || after <= token {
		t.Errorf("token %d after %d, %v", after, token, err)
	}
	release(t, next)
}

func testDead(t *testing.T, r Remote) {
	a := r.At(sync.Nodes(r.Addr))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	held := newLock(t, a, fresh(), sync.LockTTL(r.TTL))
	acquire(t, held)
	r.Kill(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want(t, "acquire of a dead server", newLock(t, a, fresh(), sync.LockTTL(r.TTL+time.Second)).Acquire(sync.WithContext(ctx)), sync.ErrUnavailable)
	_, err := newLeader(t, a, fresh()).Leader(sync.WithContext(ctx))
	want(t, "leader of a dead server", err, sync.ErrUnavailable)
	select {
	case <-held.Lost():
	case <-ctx.Done():
		t.Error("never lost")
	}
	began := time.Now()
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	took := time.Since(began)
	t.Logf("Stop without a server took %v", took)
	if took > 14*time.Second {
		t.Errorf("Stop took %v", took)
	}
	r.Restart(t)
}

// testDataLost: nobody waits for ever for what a server forgot.
func testDataLost(t *testing.T, r Remote) {
	a, b := r.New.Start(t, service("a")), r.New.Start(t, service("b"))
	id, seat := fresh(), fresh()
	const ttl = 30 * time.Second
	held, next := newLock(t, a, id, sync.LockTTL(ttl)), newLock(t, b, id, sync.LockTTL(ttl))
	for range 20 { // a new store is younger
		acquire(t, held)
		release(t, held)
	}
	elected, err := newLeader(t, a, seat, sync.LeaderTTL(ttl)).Elect()
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, held)
	waiting := r.queued(t, next)
	seen, err := newLeader(t, b, seat).Observe(sync.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if n := <-seen; n == nil || n.Id != "a" {
		t.Errorf("leader %v", n)
	}
	r.Kill(t)
	r.Wipe(t)
	for what, done := range map[string]<-chan struct{}{"lock": held.Lost(), "seat": elected.Context().Done()} {
		select {
		case <-done:
		case <-time.After(2 * patience):
			t.Errorf("%s: the holder was not told", what)
		}
	}
	select {
	case err := <-waiting:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * patience):
		t.Fatal("waits for what the server forgot")
	}
	release(t, next)
	successor, err := newLeader(t, b, seat, sync.LeaderTTL(ttl)).Elect()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(2 * patience); ; {
		select {
		case n := <-seen:
			if n == nil || n.Id != "b" {
				continue // the empty seat first
			}
		case <-deadline:
			t.Error("Observe is stuck in what the server forgot")
		}
		break
	}
	if err := successor.Resign(); err != nil {
		t.Error(err)
	}
}

// child is the environment variable that makes a test binary the holder of
// testPaused: address, id and TTL.
const child = "SYNCTEST_HOLDER"

// Main is for TestMain: in a process that testPaused started it is the holder
// of a lock and does not return.
func Main(at func(opts ...sync.Option) sync.Sync) {
	spec := strings.Split(os.Getenv(child), " ")
	if len(spec) != 3 {
		return
	}
	ttl, err := time.ParseDuration(spec[2])
	if err == nil {
		err = hold(at(sync.Nodes(spec[0])), spec[1], ttl)
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, "failed", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold uses a lock until it is lost. It says when each use began.
func hold(s sync.Sync, id string, ttl time.Duration) error {
	if err := s.Start(); err != nil {
		return err
	}
	l, err := s.Lock(id, sync.LockTTL(ttl))
	if err != nil {
		return err
	}
	if err := l.Acquire(); err != nil {
		return err
	}
	for {
		began := time.Now()
		token, err := l.Token()
		if err != nil {
			fmt.Fprintln(os.Stdout, "lost")
			return nil
		}
		fmt.Fprintln(os.Stdout, "used", began.UnixNano(), token)
		time.Sleep(time.Millisecond)
	}
}

func testPaused(t *testing.T, r Remote) {
	id := fresh()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", child, r.Addr, id, r.TTL))
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Process.Kill() }) // it has ended unless the test failed
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "used ") {
		t.Fatalf("holder: %q", lines.Text())
	}
	if err := pause(holder.Process); errors.Is(err, errors.ErrUnsupported) {
		skip.Test(t, "a process cannot be paused on "+runtime.GOOS+": test on Linux")
	} else if err != nil {
		t.Fatal(err)
	}
	next := newLock(t, r.New.Start(t), id, sync.LockTTL(r.TTL))
	token := acquire(t, next)
	acquired := time.Now().UnixNano()
	if err := resume(holder.Process); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines.Scan() {
		if last = lines.Text(); !strings.HasPrefix(last, "used ") {
			continue
		}
		use := strings.Fields(last)
		at, err1 := strconv.ParseInt(use[1], 10, 64)
		old, err2 := strconv.ParseUint(use[2], 10, 64)
		if err1 != nil || err2 != nil || at > acquired {
			t.Errorf("used after another had it: %q", last)
		}
		if old >= token {
			t.Errorf("fencing token %d of the paused holder, %d of the next", old, token)
		}
	}
	if err := holder.Wait(); err != nil || last != "lost" {
		t.Errorf("holder: %v, last %q", err, last)
	}
	release(t, next)
}
