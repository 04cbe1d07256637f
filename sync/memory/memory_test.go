package memory_test

import (
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/queue"
	"github.com/micro/go-platform/sync/internal/queue/queuetest"
	"github.com/micro/go-platform/sync/memory"
	"github.com/micro/go-platform/sync/synctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestSuite(t *testing.T) {
	server := memory.NewServer()
	n := func(_ testing.TB, opts ...sync.Option) sync.Sync { return server.NewSync(opts...) }
	synctest.Run(t, n)
	synctest.RunQueues(t, synctest.Server{
		New: n, TTL: 200 * time.Millisecond, Expiry: 1,
		Contenders: func(tb testing.TB, id string) int {
			q, err := server.Store().List(tb.Context(), queue.Key(sync.DefaultNamespace, "lock", id))
			if err != nil {
				tb.Error(err)
			}
			return len(q.Entries)
		},
	})
}

func TestStore(t *testing.T) { queuetest.Run(t, memory.NewServer().Store()) }
