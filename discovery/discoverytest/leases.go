package discoverytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/discovery"
)

// World is a registry that can die.
type World struct {
	New New
	// Kill and Restart end the registry as a crash would and bring it back.
	Kill, Restart func(tb testing.TB)
}

// RunLeases checks what happens when processes and the registry die.
func RunLeases(t *testing.T, world World) {
	t.Run("Alive", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, World){"Renewed": testRenewed, "Crash": testCrash, "Drain": testDrain} {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // they wait for leases
				test(t, world)
			})
		}
	})
	t.Run("Outage", func(t *testing.T) { testOutage(t, world) })
	t.Run("Dead", func(t *testing.T) { testDead(t, world) })
	t.Run("Snapshot", func(t *testing.T) { testSnapshotFile(t, world) })
}

// longer is more than a lease lasts.
const longer = (discovery.TTLIntervals + 1) * Interval

// always looks for a while that the plugin finds exactly these nodes.
func always(t *testing.T, d discovery.Discovery, service string, while time.Duration, want ...string) {
	t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		got := nodes(d, service)
		if len(got) != len(want) {
			t.Fatalf("nodes %v, want %v", got, want)
		}
	}
}

// testRenewed is about a lease that is renewed though nobody registers again.
func testRenewed(t *testing.T, w World) {
	a, b := start(t, w.New), start(t, w.New)
	register(t, a, service(t, "v1", "a"))
	seen(t, b, name(t), "v1:a")
	always(t, b, name(t), longer, "v1:a")
}

// testCrash is about a process that goes without a word.
func testCrash(t *testing.T, w World) {
	a, b := start(t, w.New), start(t, w.New)
	register(t, a, service(t, "v1", "a"))
	register(t, b, service(t, "v1", "b"))
	seen(t, b, name(t), "v1:a", "v1:b")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	seen(t, b, name(t), "v1:b")
}

func testDrain(t *testing.T, w World) {
	a, b := start(t, w.New), start(t, w.New)
	register(t, a, service(t, "v1", "a"))
	register(t, b, service(t, "v1", "b"))
	seen(t, b, name(t), "v1:a", "v1:b")
	if err := a.Drain(name(t) + "-a"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	seen(t, b, name(t), "v1:b")
	t.Logf("a draining node is left after %v", time.Since(begun).Round(time.Millisecond))
	register(t, a, service(t, "v1", "a")) // as go-micro's servers do all the time
	always(t, b, name(t), longer, "v1:b")
	s, err := b.Snapshot(name(t))
	if err != nil || len(s.Services[0].Nodes) != 2 || len(s.Nodes) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// testDead is about a registry that dies, and comes back.
func testDead(t *testing.T, w World) {
	a, b := start(t, w.New), start(t, w.New)
	register(t, a, service(t, "v1", "a"))
	seen(t, b, name(t), "v1:a")
	w.Kill(t)
	always(t, b, name(t), longer, "v1:a")
	_ = a.Register(service(t, "v2", "late")) // it is told that nobody is there, and tries on
	w.Restart(t)
	seen(t, b, name(t), "v1:a", "v2:late")
	c := start(t, w.New) // that has no memory
	seen(t, c, name(t), "v1:a", "v2:late")
	always(t, c, name(t), longer, "v1:a", "v2:late")
}

// testOutage is about a registry that is away for longer than a lease and comes
// back as it was: the leases it holds are over, and the nodes are well.
func testOutage(t *testing.T, w World) {
	const interval = 2 * Interval
	var want []string
	for i := range 3 {
		d := start(t, w.New, discovery.Interval(interval))
		register(t, d, service(t, "v1", fmt.Sprint(i)))
		want = append(want, fmt.Sprint("v1:", i))
	}
	reader := start(t, w.New, discovery.Interval(interval))
	seen(t, reader, name(t), want...)
	w.Kill(t)
	always(t, reader, name(t), 1.2*discovery.TTLIntervals*interval, want...)
	w.Restart(t)
	always(t, reader, name(t), 1.2*discovery.TTLIntervals*interval, want...)
	seen(t, start(t, w.New), name(t), want...)
}

// RunPreservation checks that nodes which fall silent in a mass are kept: the
// network is ill rather than they. The first one may be missed until others are.
func RunPreservation(t *testing.T, newDiscovery New) {
	reader := start(t, newDiscovery)
	var want []string
	var silent []discovery.Discovery
	for i := range 5 {
		d := start(t, newDiscovery)
		register(t, d, service(t, "v1", fmt.Sprint(i)))
		want = append(want, fmt.Sprint("v1:", i))
		if i%2 == 0 {
			silent = append(silent, d)
		}
	}
	seen(t, reader, name(t), want...)
	for _, d := range silent {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	}
	for end := time.Now().Add(longer); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := nodes(reader, name(t)); len(got) < len(want)-1 {
			t.Fatalf("nodes %v, want %v", got, want)
		}
	}
	always(t, reader, name(t), longer, want...)
}

// testSnapshotFile is about a process that starts while everything is dead.
func testSnapshotFile(t *testing.T, w World) {
	path := t.TempDir() + "/registry.json"
	a, b := start(t, w.New), start(t, w.New, discovery.SnapshotFile(path))
	register(t, a, service(t, "v1", "a"))
	seen(t, b, name(t), "v1:a")
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	w.Kill(t)
	c := start(t, w.New, discovery.SnapshotFile(path))
	seen(t, c, name(t), "v1:a")
	w.Restart(t)
}
