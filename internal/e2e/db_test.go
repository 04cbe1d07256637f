package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"

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
	dbSrv   *process
	events  *process
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
		events:  startProcess(t, filepath.Join(dir, "event-srv"), args()...),
		dbSrv:   startProcess(t, filepath.Join(dir, "db-srv"), args("--database_url", database)...),
		db:      db.NewDB(db.Client(c), db.Table("orders"), db.Events(true), db.Timeout(2*time.Second)),
		history: eventpb.NewEventService(event.ServiceName, c),
	}
	t.Cleanup(func() { _ = p.db.Stop() }) // it cannot fail
	return p
}

// writers create records until stopped.
type writers struct {
	t       *testing.T
	cancel  context.CancelFunc
	callers sync.WaitGroup

	mu           sync.Mutex
	acknowledged []string // ids
}

func (p *dbPlatform) write(round int) *writers {
	ctx, cancel := context.WithCancel(p.t.Context())
	w := &writers{t: p.t, cancel: cancel}
	for caller := range 4 {
		w.callers.Go(func() {
			wait := backoff.Backoff{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond}
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%d/%d/%d", round, caller, i)
				if err := p.db.Create(db.NewRecord(id, db.Metadata{"round": round}, nil)); err != nil {
					_ = wait.Wait(ctx) // the service is dead, or the loop ends
					continue
				}
				w.mu.Lock()
				w.acknowledged = append(w.acknowledged, id)
				w.mu.Unlock()
			}
		})
	}
	return w
}

// more waits until n further records were acknowledged.
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

func (w *writers) stop() []string {
	w.cancel()
	w.callers.Wait()
	return w.acknowledged
}

// told returns how many events there are for each record.
func (p *dbPlatform) told() map[string]int {
	p.t.Helper()
	found := make(map[string]int)
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
			found[c.Id]++
			after = r.Sequence
		}
		if len(rsp.Records) == 0 {
			return found
		}
	}
}

// Killing db-srv at any moment, in between commit and publication for certain,
// loses no event of a change that took place, tells none twice, and none of a
// change that did not.
func TestFaultChangesAreToldOnce(t *testing.T) {
	for name, database := range map[string]func(t *testing.T) string{
		"sqlite": func(*testing.T) string { return "" },
		"mysql":  func(t *testing.T) string { return rpctest.MySQLURL(t) },
	} {
		t.Run(name, func(t *testing.T) { killDBSrv(t, startDB(t, database(t))) })
	}
}

func killDBSrv(t *testing.T, p *dbPlatform) {
	kills := 4
	if long() {
		kills = 40
	}
	acknowledged := 0
	for round := range kills {
		w := p.write(round)
		w.more(1 + rand.IntN(100)) // when it dies is the point
		if round%2 == 1 {
			// From here on what is committed cannot be published.
			p.events.kill()
			w.more(1 + rand.IntN(20))
		}
		p.dbSrv.kill()
		if round%2 == 1 {
			p.events.start()
		}
		p.dbSrv.start()
		w.more(1)
		ids := w.stop()
		acknowledged += len(ids)
		for _, id := range ids {
			if _, err := p.db.Read(id); err != nil {
				t.Errorf("round %d: acknowledged %s is gone: %v", round, id, err)
			}
		}
	}
	stored := make(map[string]bool)
	for r, err := range db.Each(p.db, nil) {
		if err != nil {
			t.Fatal(err)
		}
		stored[r.Id()] = true
	}
	var told map[string]int
	dbtest.Eventually(t, "all changes are told", func() bool {
		told = p.told()
		return len(told) >= len(stored)
	})
	for id := range stored {
		if told[id] != 1 {
			t.Errorf("%d events tell of %s", told[id], id)
		}
	}
	for id := range told {
		if !stored[id] {
			t.Errorf("an event tells of %s, which does not exist", id)
		}
	}
	t.Logf("%d kills, %d changes acknowledged, %d took place, %d told", kills, acknowledged, len(stored), len(told))
	if acknowledged == 0 || len(stored) < acknowledged {
		t.Errorf("%d acknowledged, %d stored", acknowledged, len(stored))
	}
}
