package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/event"
	eventpb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend"
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

// freeAddress returns an address that a process keeps over restarts: the
// registry takes its time to forget the killed ones.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
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
			"--data_dir", data, "--server_address", freeAddress(t)}, more...)
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

// write creates records by several callers until stopped, and returns the
// acknowledged ids.
func (p *dbPlatform) write(round int) (stop func() []string) {
	var mu sync.Mutex
	var acknowledged []string
	var over atomic.Bool
	var callers sync.WaitGroup
	for w := range 4 {
		callers.Go(func() {
			for i := 0; !over.Load(); i++ {
				id := fmt.Sprintf("%d/%d/%d", round, w, i)
				if err := p.db.Create(db.NewRecord(id, db.Metadata{"round": round}, nil)); err != nil {
					time.Sleep(5 * time.Millisecond) // the service is dead: no busy loop
					continue
				}
				mu.Lock()
				acknowledged = append(acknowledged, id)
				mu.Unlock()
			}
		})
	}
	return func() []string {
		over.Store(true)
		callers.Wait()
		return acknowledged
	}
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
		stop := p.write(round)
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond) // when it dies is the point
		if round%2 == 1 {
			// From here on what is committed cannot be published.
			p.events.kill()
			time.Sleep(100 * time.Millisecond)
		}
		p.dbSrv.kill()
		time.Sleep(20 * time.Millisecond)
		if round%2 == 1 {
			p.events.start()
		}
		p.dbSrv.start()
		time.Sleep(50 * time.Millisecond)
		ids := stop()
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
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if told = p.told(); len(told) >= len(stored) {
			break
		}
	}
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
