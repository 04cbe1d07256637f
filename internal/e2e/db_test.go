package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	"github.com/micro/go-platform/event"
	eventpb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpctest"
)

// dbPlatform is db-srv and event-srv as processes, and clients of both.
type dbPlatform struct {
	t       *testing.T
	dbSrv   *rpctest.Program
	events  *rpctest.Program
	db      db.DB
	history eventpb.EventService
}

// startDB starts both; database is the URL that records are kept at, empty for
// a file.
func startDB(t *testing.T, database string) *dbPlatform {
	t.Helper()
	dir, data := t.TempDir(), t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./db/db-srv", "./event/event-srv")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	addr := backend.Consul(t).Addr
	args := func(more ...string) []string {
		return append([]string{"--registry", "consul", "--registry_address", addr, "--broker", "memory", "--insecure",
			"--data_dir", data, "--server_address", backend.Address(t)}, more...)
	}
	brk, err := membroker.New()
	if err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(rpc.Config{Registry: consul.NewConsulRegistry(registry.Addrs(addr)), Broker: brk})
	t.Cleanup(c.Close)
	p := &dbPlatform{
		t:       t,
		events:  rpctest.StartProgram(t, filepath.Join(dir, "event-srv"), args()...),
		dbSrv:   rpctest.StartProgram(t, filepath.Join(dir, "db-srv"), args("--database_url", database)...),
		db:      db.NewDB(db.Client(c), db.Table("orders"), db.Events(true), db.Timeout(2*time.Second)),
		history: eventpb.NewEventService(event.ServiceName, c),
	}
	t.Cleanup(func() { _ = p.db.Stop() }) // it cannot fail
	return p
}

// writers create records, update them and delete every third, until stopped.
type writers struct {
	t       *testing.T
	cancel  context.CancelFunc
	callers sync.WaitGroup

	mu           sync.Mutex
	acknowledged []change
}

// change is a step in the life of a record. Its metadata count the steps until
// the last, a deletion.
type change struct {
	id   string
	step int64
}

const lastStep = 4

func (p *dbPlatform) write(round int) *writers {
	ctx, cancel := context.WithCancel(p.t.Context())
	w := &writers{t: p.t, cancel: cancel}
	for caller := range 4 {
		w.callers.Go(func() {
			wait := backoff.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}
			for i := 0; ctx.Err() == nil; i++ {
				if err := w.live(ctx, p.db, fmt.Sprintf("%d/%d/%d", round, caller, i), i%3 == 0); err != nil {
					_ = wait.Wait(ctx) // the service is dead, or the loop ends
				}
			}
		})
	}
	return w
}

// live takes a record through its steps until one fails: nobody knows whether
// that was done.
func (w *writers) live(ctx context.Context, d db.DB, id string, dies bool) error {
	for step := int64(1); step < lastStep && ctx.Err() == nil; step++ {
		r := db.NewRecord(id, db.Metadata{"step": step}, nil)
		do := func() error { return d.Update(r) }
		if step == 1 {
			do = func() error { return d.Create(r) }
		}
		if err := do(); err != nil {
			return err
		}
		w.acknowledge(change{id, step})
	}
	if !dies || ctx.Err() != nil {
		return nil
	}
	if err := d.Delete(id); err != nil {
		return err
	}
	w.acknowledge(change{id, lastStep})
	return nil
}

func (w *writers) acknowledge(c change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acknowledged = append(w.acknowledged, c)
}

// more waits until n further changes were acknowledged.
func (w *writers) more(n int) {
	w.t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.acknowledged)
	}
	before := count()
	dbtest.Eventually(w.t, fmt.Sprintf("%d more are acknowledged", n), func() bool { return count() >= before+n })
}

func (w *writers) stop() []change {
	w.cancel()
	w.callers.Wait()
	return w.acknowledged
}

// told returns the steps of each record in the order in which events tell of
// them.
func (p *dbPlatform) told() map[string][]int64 {
	p.t.Helper()
	found := make(map[string][]int64)
	for after := uint64(0); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		rsp, err := p.history.Search(ctx, &eventpb.SearchRequest{Type: db.EventType("micro", "orders", "*"), Limit: 1000, After: after}, rpc.Options(5*time.Second)...)
		cancel()
		if err != nil {
			p.t.Logf("search events: %v", err)
			return nil
		}
		for _, r := range rsp.Records {
			c, err := db.ParseChange(r.Data)
			if err != nil {
				p.t.Fatal(err)
			}
			step, _ := c.Metadata["step"].(int64)
			if c.Action == db.Deleted {
				step = lastStep
			}
			found[c.Id] = append(found[c.Id], step)
			after = r.Sequence
		}
		if len(rsp.Records) == 0 {
			return found
		}
	}
}

// stored returns the last step of each record that is there.
func (p *dbPlatform) stored() map[string]int64 {
	p.t.Helper()
	found := make(map[string]int64)
	for r, err := range db.Each(p.db, nil) {
		if err != nil {
			p.t.Fatal(err)
		}
		found[r.Id()], _ = r.Metadata()["step"].(int64)
	}
	return found
}

// Killing db-srv at any moment, in between commit and publication for certain,
// loses no event of a change that took place, tells none twice or out of order,
// and none of a change that did not.
func TestFaultChangesAreToldOnce(t *testing.T) {
	for name, database := range map[string]func(t *testing.T) string{
		"sqlite":   func(*testing.T) string { return "" },
		"mysql":    func(t *testing.T) string { return rpctest.MySQLURL(t) },
		"postgres": func(t *testing.T) string { return backend.Postgres(t, backend.Shared).URL },
	} {
		t.Run(name, func(t *testing.T) { killDBSrv(t, startDB(t, database(t))) })
	}
}

func killDBSrv(t *testing.T, p *dbPlatform) {
	kills := 4
	if rpctest.Long() {
		kills = 40
	}
	acknowledged := make(map[string]int64) // the last step
	for round := range kills {
		w := p.write(round)
		w.more(1 + rand.IntN(100)) // when it dies is the point
		if round%2 == 1 {
			// From here on what is committed cannot be published.
			p.events.Kill()
			w.more(1 + rand.IntN(20))
		}
		p.dbSrv.Kill()
		if round%2 == 1 {
			p.events.Start()
		}
		p.dbSrv.Start()
		w.more(1)
		for _, c := range w.stop() {
			acknowledged[c.id] = max(acknowledged[c.id], c.step)
		}
	}
	stored := p.stored()
	var told map[string][]int64
	dbtest.Eventually(t, "all changes are told", func() bool {
		told = p.told()
		for id, step := range acknowledged {
			if step = max(step, stored[id]); len(told[id]) == 0 || slices.Max(told[id]) < step {
				return false
			}
		}
		return true
	})
	changes := 0
	for id, steps := range told {
		changes += len(steps)
		for i, step := range steps {
			if step != int64(i)+1 {
				t.Errorf("%s: events tell of the steps %v", id, steps)
				break
			}
		}
		if last := steps[len(steps)-1]; last != stored[id] && (last != lastStep || stored[id] != 0) {
			t.Errorf("%s: the last event is of step %d, stored is %d", id, last, stored[id])
		}
	}
	for id, step := range stored {
		if len(told[id]) == 0 {
			t.Errorf("%s: step %d is stored and not told", id, step)
		}
	}
	t.Logf("%d kills: %d changes of %d records told, %d records are there", kills, changes, len(told), len(stored))
}
