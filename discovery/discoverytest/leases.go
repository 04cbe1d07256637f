package discoverytest

import (
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
	t.Run("Dead", func(t *testing.T) { testDead(t, world) })
	t.Run("Snapshot", func(t *testing.T) { testSnapshotFile(t, world) })
}

// always looks for a while, longer than a lease, that the plugin finds exactly
// these nodes.
func always(t *testing.T, d discovery.Discovery, service string, want ...string) {
	t.Helper()
	for end := time.Now().Add(discovery.TTLIntervals*Interval + Interval); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
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
	always(t, b, name(t), "v1:a")
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
	always(t, b, name(t), "v1:b")
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
	always(t, b, name(t), "v1:a")
	_ = a.Register(service(t, "v2", "late")) // it is told that nobody is there, and tries on
	w.Restart(t)
	seen(t, b, name(t), "v1:a", "v2:late")
	c := start(t, w.New) // that has no memory
	seen(t, c, name(t), "v1:a", "v2:late")
	always(t, c, name(t), "v1:a", "v2:late")
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
