package srv_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

const interval = 30 * time.Second

// world is a state whose time is the test's.
type world struct {
	discoverysrv.State
	t   *testing.T
	now time.Time
}

func newWorld(t *testing.T, nodes int) *world {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w := &world{discoverysrv.NewState(log), t, time.Now()}
	for i := range nodes {
		w.register(fmt.Sprint(i))
	}
	return w
}

func (w *world) register(node string) {
	w.t.Helper()
	if err := w.Register("shop", node, "secret", interval, 0, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time pass in steps of half a second; every interval each node of
// the list sends a heartbeat, of which the given part is lost.
func (w *world) pass(d time.Duration, lost float64, nodes ...int) {
	const step = 500 * time.Millisecond
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(step) {
		for _, n := range nodes {
			phase := time.Duration(n) * 997 * time.Millisecond % interval
			if beat := w.now.UnixNano() - int64(phase); beat%int64(interval) < int64(step) && rand.Float64() >= lost {
				w.Renew("shop", fmt.Sprint(n), "secret", 0, w.now)
			}
		}
		w.Sweep(w.now)
	}
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestADeadNodeIsGoneWithinThreeIntervals(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 20} {
		w := newWorld(t, nodes)
		w.pass(4*interval, 0, upTo(nodes)...)
		if w.Len() != nodes {
			t.Fatalf("%d of %d left while all send heartbeats", w.Len(), nodes)
		}
		w.pass(3*interval, 0, upTo(nodes-1)...)
		if w.Len() != nodes-1 {
			t.Errorf("%d of %d left three intervals after one died", w.Len(), nodes)
		}
	}
}

func TestNothingExpiresWhileHeartbeatsAreLost(t *testing.T) {
	w := newWorld(t, 50)
	w.pass(2*interval, 0, upTo(50)...)
	w.pass(100*interval, 0.6, upTo(50)...)
	if w.Len() != 50 {
		t.Errorf("%d of 50 left with 60 %% of the heartbeats lost", w.Len())
	}
	w.pass(20*interval, 0, upTo(50)...)
	if w.Preserving() || w.Len() != 50 {
		t.Errorf("preserving %t with %d of 50 after recovery", w.Preserving(), w.Len())
	}
	w.pass(3*interval, 0, upTo(49)...)
	if w.Len() != 49 {
		t.Error("a dead node stays after recovery")
	}
}

func TestNothingExpiresWhileMostAreCutOff(t *testing.T) {
	w := newWorld(t, 50)
	w.pass(10*interval, 0, upTo(20)...)
	if w.Len() != 50 || !w.Preserving() {
		t.Errorf("%d of 50 left, preserving %t", w.Len(), w.Preserving())
	}
}

func TestPreservationEndsAfterAScaleIn(t *testing.T) {
	w := newWorld(t, 50)
	w.pass(4*interval, 0, upTo(50)...)
	w.pass(5*interval, 0, upTo(25)...)
	if !w.Preserving() || w.Len() != 50 {
		t.Fatalf("preserving %t with %d left", w.Preserving(), w.Len())
	}
	w.pass(20*interval, 0, upTo(25)...)
	if w.Preserving() || w.Len() != 25 {
		t.Errorf("preserving %t with %d left", w.Preserving(), w.Len())
	}
}

// An orderly scale-in is none of preservation's business.
func TestDeregisteredNodesAreNotMissed(t *testing.T) {
	w := newWorld(t, 50)
	for i := 10; i < 50; i++ {
		if err := w.Deregister("shop", fmt.Sprint(i), "secret", w.now); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(3*interval, 0, upTo(9)...)
	if w.Preserving() || w.Len() != 9 {
		t.Errorf("preserving %t with %d left", w.Preserving(), w.Len())
	}
}

// A process that did not run for ten minutes does not blame the others.
func TestAPauseIsNoSilence(t *testing.T) {
	w := newWorld(t, 3)
	w.pass(interval, 0, upTo(3)...)
	w.now = w.now.Add(10 * time.Minute)
	w.Sweep(w.now)
	if w.pass(interval, 0); w.Len() != 3 {
		t.Errorf("%d of 3 left", w.Len())
	}
}

// Heartbeats that a server which was stopped could not take were not lost, also
// when the next ones come before its first look at the leases: a node that dies
// then is gone as soon as any.
func TestAPauseLosesNoHeartbeats(t *testing.T) {
	w := newWorld(t, 3)
	for range 4 {
		w.pass(interval, 0, upTo(3)...)
		w.now = w.now.Add(10 * time.Minute)
		for n := range 3 {
			w.Renew("shop", fmt.Sprint(n), "secret", 0, w.now)
		}
	}
	if w.pass(3*interval, 0, 0, 1); w.Preserving() || w.Len() != 2 {
		t.Errorf("preserving %t with %d of 3 left, want the two that live", w.Preserving(), w.Len())
	}
}

// While auth-srv is away tokens run out, and heartbeats are refused one after the
// other: more slowly than self-preservation would see, and for longer than it
// lasts.
func TestNobodyDiesOfAuthSrv(t *testing.T) {
	w := newWorld(t, 40)
	reached := true
	sweep := w.Sweeper(&reached)
	pass := func(d time.Duration, alive int) {
		for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
			for n := range alive {
				w.Renew("shop", fmt.Sprint(n), "secret", 0, w.now)
			}
			sweep(w.now)
		}
	}
	pass(5*interval, 40)
	reached = false
	for alive := 40; alive >= 0; alive-- {
		pass(interval, alive)
	}
	pass(time.Hour, 0)
	if w.Len() != 40 {
		t.Fatalf("%d of 40 nodes are left", w.Len())
	}
	reached = true
	pass(12*time.Second, 0) // until they have tokens again
	pass(10*interval, 39)
	if w.Len() != 39 {
		t.Fatalf("%d nodes are left, want all but the one that died", w.Len())
	}
}

func TestOnlyTheRegistrantSpeaksForANode(t *testing.T) {
	w := newWorld(t, 1)
	if err := w.Register("shop", "0", "other", interval, 0, w.now); !errors.Is(err, rpcerr.ErrForbidden) {
		t.Errorf("another's registration: %v", err)
	}
	if err := w.Register("shop", "0", "", interval, 0, w.now); !errors.Is(err, rpcerr.ErrForbidden) {
		t.Errorf("a registration without secret: %v", err)
	}
	if err := w.Deregister("shop", "0", "other", w.now); !errors.Is(err, rpcerr.ErrForbidden) {
		t.Errorf("another's deregistration: %v", err)
	}
	if w.Renew("shop", "0", "other", 0, w.now) {
		t.Error("another's heartbeat was taken")
	}
	w.pass(3*interval, 0)
	if err := w.Register("shop", "0", "other", interval, 0, w.now); err != nil {
		t.Errorf("once the lease has ended: %v", err)
	}
}

func TestEventsAreOrderedAndBounded(t *testing.T) {
	w := newWorld(t, 1)
	w.register("0") // nothing new
	w.register("1")
	if err := w.Deregister("shop", "0", "secret", w.now); err != nil {
		t.Fatal(err)
	}
	want := []string{"create 0", "create 1", "delete 0"}
	if got, ok := w.Since(0); !ok || !slices.Equal(got, want) {
		t.Errorf("%v, %t", got, ok)
	}
	if got, ok := w.Since(2); !ok || !slices.Equal(got, want[2:]) {
		t.Errorf("%v, %t", got, ok)
	}
	if _, ok := w.Since(4); ok {
		t.Error("a revision that never was")
	}
	for range discoverysrv.MaxEvents {
		w.register("2")
		_ = w.Deregister("shop", "2", "secret", w.now) // it is there
	}
	if _, ok := w.Since(2); ok {
		t.Error("a revision that is forgotten")
	}
	last := uint64(3 + 2*discoverysrv.MaxEvents)
	if got, ok := w.Since(last - 2); !ok || !slices.Equal(got, []string{"create 2", "delete 2"}) {
		t.Errorf("%v, %t", got, ok)
	}
}

func TestAMillionServicesAreRefused(t *testing.T) {
	w := newWorld(t, 0)
	var err error
	n := 0
	for ; err == nil && n < 1_000_000; n++ {
		err = w.Register(fmt.Sprint("s", n), "x", "secret", interval, 0, w.now)
	}
	if !errors.Is(err, rpcerr.ErrLimited) || w.Len() > discoverysrv.MaxPerHost {
		t.Errorf("%d leases of one host, %v", w.Len(), err)
	}
	if err := w.Register("s0", "x", "secret", interval, 0, w.now); err != nil {
		t.Errorf("those that are there can renew: %v", err)
	}
}

// Two write nodes that could not see each other agree again: the later word of
// a registrant wins, a deregistration too.
func TestPartitionsHeal(t *testing.T) {
	a, b := newWorld(t, 3), newWorld(t, 0)
	b.now = a.now
	ca, _ := b.Follow(a.State, 0, false, b.now)
	if b.Len() != 3 {
		t.Fatalf("%d of 3 were replicated", b.Len())
	}
	// Apart: 0 moves to b, 1 leaves at a, 2 stays at a, 3 is new at b.
	for _, w := range []*world{a, b} {
		w.now = w.now.Add(interval)
	}
	if !b.Renew("shop", "0", "secret", 0, b.now) {
		t.Fatal("b does not take a lease that a gave")
	}
	if err := a.Deregister("shop", "1", "secret", a.now); err != nil {
		t.Fatal(err)
	}
	a.Renew("shop", "2", "secret", 0, a.now)
	b.register("3")
	if _, whole := b.Follow(a.State, ca, false, b.now); !whole {
		t.Error("b lost track")
	}
	a.Follow(b.State, 0, false, a.now)
	for _, w := range []*world{a, b} {
		for _, s := range []string{"0", "2", "3"} {
			if !w.Renew("shop", s, "secret", 0, w.now) {
				t.Errorf("node %s is missing", s)
			}
		}
		if w.Len() != 3 {
			t.Errorf("%d leases, want 3", w.Len())
		}
	}
	// Nothing bounces for ever.
	_, ra := a.Since(0)
	ca, cb := uint64(0), uint64(0)
	for range 5 {
		ca, _ = b.Follow(a.State, ca, false, b.now)
		cb, _ = a.Follow(b.State, cb, false, a.now)
	}
	na, _ := b.Follow(a.State, ca, false, b.now)
	if nb, _ := a.Follow(b.State, cb, false, a.now); na != ca || nb != cb || !ra {
		t.Errorf("still talking: %d %d, %d %d", ca, na, cb, nb)
	}
}

func TestReplicasFollow(t *testing.T) {
	w, r := newWorld(t, 2), newWorld(t, 0)
	r.now = w.now
	c, _ := r.Follow(w.State, 0, true, r.now)
	w.pass(3*interval, 0, 0) // node 1 dies
	c, _ = r.Follow(w.State, c, true, w.now)
	if r.Len() != 1 {
		t.Errorf("%d left at the replica", r.Len())
	}
	w.register("1")
	if _, whole := r.Follow(w.State, c, true, w.now); !whole || r.Len() != 2 {
		t.Errorf("%d at the replica after the return", r.Len())
	}
	// A renewal of what the replica does not know makes it begin again.
	fresh := newWorld(t, 0)
	c, _ = fresh.Follow(w.State, 0, true, w.now)
	_ = fresh.Deregister("shop", "1", "secret", w.now) // it is there
	late := newWorld(t, 0)
	w.Renew("shop", "1", "secret", 0, w.now)
	if _, whole := late.Follow(w.State, c, true, w.now); whole {
		t.Error("a lease was missed and nobody noticed")
	}
}

// What a registrant's clock says orders its words at most, it never outlives
// or shortens a lease, here or at a replica.
func TestClocksOfRegistrantsDoNotMatter(t *testing.T) {
	w, r := newWorld(t, 0), newWorld(t, 0)
	hour := uint64(time.Hour)
	now := uint64(w.now.UnixNano())
	for i, beat := range []uint64{now, now - hour, now + hour, 1} {
		if err := w.Register("shop", "0", "secret", interval, beat, w.now); err != nil {
			t.Fatalf("registration %d: %v", i, err)
		}
	}
	cursor, _ := r.Follow(w.State, 0, true, w.now)
	for _, beat := range []uint64{2, now - hour, 3, now, 4, 5, 6, 7} {
		w.now = w.now.Add(interval)
		if !w.Renew("shop", "0", "secret", beat, w.now) {
			t.Fatal("a heartbeat was not taken")
		}
		w.Sweep(w.now)
		cursor, _ = r.Follow(w.State, cursor, true, w.now)
		r.Sweep(w.now)
		if w.Len() != 1 || r.Len() != 1 {
			t.Fatalf("%d leases, %d at the replica", w.Len(), r.Len())
		}
	}
}
