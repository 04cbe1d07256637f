package memory_test

import (
	"fmt"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/kvtest"
	"github.com/micro/go-platform/kv/memory"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func newKV(_ testing.TB, opts ...kv.Option) kv.KV { return memory.NewKV(opts...) }

func TestSuite(t *testing.T) {
	kvtest.Run(t, newKV)
	kvtest.RunAll(t, newKV)
	t.Run("Fence", func(t *testing.T) { kvtest.RunFence(t, newKV) })
}

func TestEvictsWhatWasNotUsed(t *testing.T) {
	k := kvtest.New(newKV).Start(t, kv.MaxBytes(100_000))
	write := func(i int) {
		if err := k.Put(&kv.Item{Key: fmt.Sprint(i), Value: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	for i := 1; i <= 500; i++ {
		write(i)
		if _, err := k.Get("0"); err != nil {
			t.Fatalf("what was used was evicted after %d others", i)
		}
	}
	held := 0
	for i := range 501 {
		if _, err := k.Get(fmt.Sprint(i)); err == nil {
			held++
		}
	}
	if held < 70 || held > 84 {
		t.Errorf("%d items of 1200 bytes in 100000", held)
	}
	if dropped := k.(interface{ Dropped() uint64 }).Dropped(); dropped != uint64(501-held) {
		t.Errorf("%d dropped, %d are not there", dropped, 501-held)
	}
}
