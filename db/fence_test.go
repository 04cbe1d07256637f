package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/fence"
	"github.com/micro/go-platform/sync/memory"
)

// elect makes a candidate the leader and returns its token.
func elect(t *testing.T, s sync.Sync) uint64 {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() }) // it may complain of the lost seat
	leader, err := s.Leader("scheduler", sync.LeaderTTL(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seat, err := leader.Elect(sync.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	token, err := seat.Token()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A leader that was paused past its lease writes, as if nothing had happened,
// after another was elected.
func TestPausedLeaderIsRefused(t *testing.T) {
	server := memory.NewServer()
	var gate memory.Gate
	old := elect(t, server.NewGatedSync(&gate))
	net := rpctest.New(t)
	net.Boot(dbsrv.Service())
	d := db.NewDB(db.Client(net.Client(rpctest.GRPC)))
	defer d.Stop()
	plan := func(text string) db.Record { return db.NewRecord("plan", nil, []byte(text)) }
	if err := d.Create(plan("of the first"), db.Fence(old)); err != nil {
		t.Fatal(err)
	}
	gate.Shut()
	token := elect(t, server.NewSync())
	if token <= old {
		t.Fatalf("tokens %d, then %d", old, token)
	}
	if err := d.Update(plan("of the second"), db.Fence(token)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"update": d.Update(plan("late"), db.Fence(old)), "delete": d.Delete("plan", db.Fence(old)), "put": db.Put(d, "plan", "late", db.Fence(old)),
	} {
		if !errors.Is(err, fence.ErrStale) || !errors.Is(err, db.ErrConflict) {
			t.Errorf("late %s: %v", what, err)
		}
	}
	if r, err := d.Read("plan"); err != nil || string(r.Bytes()) != "of the second" {
		t.Errorf("%v, %v", r, err)
	}
}
