package bench

import (
	"fmt"
	"sync/atomic"
	"testing"

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

// BenchmarkKV compares what a caller sees of a value on another process or
// member: with one answer awaited (fast), with a majority of three (quorum), and
// on Redis and memcached. Held is a key on the member that reads.
func BenchmarkKV(b *testing.B) {
	fast, member := ringOf(b, 3, kv.Quorum(1, 3))
	quorum, _ := ringOf(b, 3)
	plugins := []kvPlugin{
		{"memory", memory.NewKV()},
		{"redis", redis.NewKV(kv.Servers([]string{backend.Redis(b).Addr}))},
		{"memcached", memcached.NewKV(kv.Servers([]string{backend.Memcached(b).Addr}))},
	}
	for _, p := range plugins {
		if err := p.kv.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.kv.Stop() }) // it ends with the benchmark
	}
	plugins = append(plugins, kvPlugin{"held", member}, kvPlugin{"ring-fast", fast}, kvPlugin{"ring-quorum", quorum})
	for _, size := range []int{100, 10_000} {
		for _, callers := range []int{1, 50} {
			for _, p := range plugins {
				items := make([]*kv.Item, 256) // so that reads of one key are not shared
				for i := range items {
					items[i] = &kv.Item{Key: fmt.Sprint("bench", i), Value: make([]byte, size)}
					if err := p.kv.Put(items[i]); err != nil {
						b.Fatal(err)
					}
				}
				var turn atomic.Uint32
				next := func() *kv.Item { return items[turn.Add(1)%256] }
				run := func(what string, f func() error) {
					b.Run(fmt.Sprintf("%s/%dB/%d/%s", what, size, callers, p.name), func(b *testing.B) {
						b.ReportAllocs()
						b.SetParallelism(max(1, callers/2)) // of each of two processors
						if callers == 1 {
							for b.Loop() {
								if err := f(); err != nil {
									b.Fatal(err)
								}
							}
							return
						}
						b.RunParallel(func(pb *testing.PB) {
							for pb.Next() {
								if err := f(); err != nil {
									b.Error(err)
								}
							}
						})
					})
				}
				run("Get", func() error { _, err := p.kv.Get(next().Key); return err })
				run("Put", func() error { return p.kv.Put(next()) })
			}
		}
	}
}
