package bench

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/memcached"
	"github.com/micro/go-platform/kv/memory"
	"github.com/micro/go-platform/kv/redis"
)

// kvPlugin is one of those that are compared.
type kvPlugin struct {
	name string
	kv   kv.KV
}

// ringOf returns a client of n members that is none itself, and one of them.
func ringOf(b *testing.B, n int, opts ...kv.Option) (remote, member kv.KV) {
	net := rpctest.New(b)
	start := func(serve bool) kv.KV {
		s := net.Server(rpctest.GRPC, "bench")
		k := kv.NewKV(append([]kv.Option{kv.Server(s), kv.Client(net.Client(rpctest.GRPC)), kv.Logger(net.Logger)}, opts...)...)
		if serve {
			if err := k.Start(); err != nil {
				b.Fatal(err)
			}
			net.Start(s)
		} else if err := k.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = k.Stop() }) // it ends with the benchmark
		return k
	}
	for range n {
		member = start(true)
	}
	remote = start(false)
	item := &kv.Item{Key: "warm"}
	for range 500 { // until the members agree
		if err := remote.Put(item); err != nil {
			b.Fatal(err)
		}
		if err := member.Put(item); err != nil {
			b.Fatal(err)
		}
	}
	return remote, member
}

// kvPlugins are redis, the unit, and what is compared with it: memcached, the
// members with one answer awaited (fast) and with a majority of three (quorum).
func kvPlugins(b *testing.B) []kvPlugin {
	fast, _ := ringOf(b, 3, kv.Quorum(1, 3))
	quorum, _ := ringOf(b, 3)
	plugins := []kvPlugin{
		{"redis", redis.NewKV(kv.Servers([]string{backend.Redis(b).Addr}))},
		{"memcached", memcached.NewKV(kv.Servers([]string{backend.Memcached(b).Addr}))},
	}
	for _, p := range plugins {
		if err := p.kv.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.kv.Stop() }) // it ends with the benchmark
	}
	return append(plugins, kvPlugin{"fast", fast}, kvPlugin{"quorum", quorum})
}

// BenchmarkKVHere reads what is in this process: a key on the member that reads,
// and one of the memory plugin.
func BenchmarkKVHere(b *testing.B) {
	_, held := ringOf(b, 3, kv.Quorum(1, 3))
	m := memory.NewKV()
	if err := m.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Stop() }) // it ends with the benchmark
	for _, size := range []int{100, 10_000} {
		for _, p := range []kvPlugin{{"held", held}, {"memory", m}} {
			get := kvWork(b, p.kv, size)["Get"]
			b.Run(fmt.Sprintf("%dB/%s", size, p.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := get(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// kvWork returns a Get and a Put of values of a size, each time of another of
// many keys, so that reads are not shared.
func kvWork(b *testing.B, k kv.KV, size int) map[string]func() error {
	items := make([]*kv.Item, 256)
	for i := range items {
		items[i] = &kv.Item{Key: fmt.Sprint("bench", i), Value: make([]byte, size)}
		if err := k.Put(items[i]); err != nil {
			b.Fatal(err)
		}
	}
	var turn atomic.Uint32
	next := func() *kv.Item { return items[turn.Add(1)%256] }
	return map[string]func() error{
		"Get": func() error { _, err := k.Get(next().Key); return err },
		"Put": func() error { return k.Put(next()) },
	}
}

// BenchmarkKV takes turns between the plugins, so that other work on the machine
// hits all alike, and reports the median of each as a multiple of redis.
func BenchmarkKV(b *testing.B) {
	remote := kvPlugins(b)
	for _, size := range []int{100, 10_000} {
		work := make([]map[string]func() error, len(remote))
		for i, p := range remote {
			work[i] = kvWork(b, p.kv, size)
		}
		for _, what := range []string{"Get", "Put"} {
			for _, callers := range []int{1, 50} {
				b.Run(fmt.Sprintf("%s/%dB/%d", what, size, callers), func(b *testing.B) {
					took := make([][]time.Duration, len(remote))
					for b.Loop() {
						for i := range remote {
							took[i] = append(took[i], kvRound(b, callers, work[i][what]))
						}
					}
					kvReport(b, remote, took)
				})
			}
		}
	}
}

// kvRound returns the time of one of a caller's calls, or of all callers' calls
// by their number.
func kvRound(b *testing.B, callers int, f func() error) time.Duration {
	const calls = 20
	began := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if err := f(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began) / time.Duration(calls*callers)
}

func kvReport(b *testing.B, plugins []kvPlugin, took [][]time.Duration) {
	medians := make([]float64, len(took))
	for i, all := range took {
		slices.Sort(all)
		medians[i] = float64(all[len(all)/2])
	}
	b.ReportMetric(medians[0]/1000, "µs/"+plugins[0].name)
	for i := 1; i < len(medians); i++ {
		b.ReportMetric(medians[i]/medians[0], "x/"+plugins[i].name)
	}
	b.ReportMetric(0, "ns/op") // of all of them: says nothing
}
