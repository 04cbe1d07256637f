package bench

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/viper"
	microconfig "go-micro.dev/v6/config"
	micromemory "go-micro.dev/v6/config/source/memory"

	"github.com/micro/go-platform/config"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/config/source/memory"
	configsrv "github.com/micro/go-platform/config/srv"
	"github.com/micro/go-platform/internal/rpctest"
)

// document is what the benchmarks read from: twenty objects of twenty values.
func document(changing int) (map[string]any, []byte) {
	all, text := map[string]any{}, "{"
	for i := range 20 {
		object := map[string]any{}
		text += fmt.Sprintf(`"o%d":{`, i)
		for j := range 20 {
			object[fmt.Sprintf("k%d", j)] = fmt.Sprint("value", j)
			text += fmt.Sprintf(`"k%d":"value%d",`, j, j)
		}
		all[fmt.Sprintf("o%d", i)] = object
		text = text[:len(text)-1] + "},"
	}
	all["a"] = map[string]any{"b": map[string]any{"c": "value"}}
	return all, []byte(fmt.Sprintf(`%s"a":{"b":{"c":"value"}},"n":%d}`, text, changing))
}

// readers measures get in eight readers for each processor while a writer
// changes another value a hundred times a second. Write is nil where the library
// cannot be written to while it is read.
func readers(b *testing.B, get func() string, write func(int)) {
	b.Helper()
	done := make(chan struct{})
	var writer sync.WaitGroup
	if write != nil {
		writer.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				case <-tick.C:
					write(i)
				}
			}
		})
	}
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if get() != "value" {
				b.Error("wrong value")
			}
		}
	})
	b.StopTimer()
	close(done)
	writer.Wait()
}

// BenchmarkConfigGet compares one read of a nested text. Koanf and viper get no
// writer: koanf locks, viper races (viper#268).
func BenchmarkConfigGet(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		_, data := document(0)
		s := memory.NewSource(memory.Data(data))
		c := config.NewConfig(config.WithSource(s))
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		defer c.Stop()
		held := []config.Config{c} // as users do: the compiler does not see what is behind it
		readers(b, func() string { return held[0].Get("a", "b", "c").String("") }, func(i int) {
			_, data := document(i)
			s.Update(data)
		})
	})
	b.Run("go-micro", func(b *testing.B) {
		_, data := document(0)
		s := micromemory.NewSource(micromemory.WithJSON(data))
		c, err := microconfig.NewConfig()
		if err == nil {
			err = c.Load(s)
		}
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		readers(b, func() string { v, _ := c.Get("a", "b", "c"); return v.String("") }, nil) // it is there
	})
	b.Run("koanf", func(b *testing.B) {
		values, _ := document(0)
		k := koanf.New(".")
		if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
			b.Fatal(err)
		}
		readers(b, func() string { return k.String("a.b.c") }, nil)
	})
	b.Run("viper", func(b *testing.B) {
		values, _ := document(0)
		v := viper.New()
		if err := v.MergeConfigMap(values); err != nil {
			b.Fatal(err)
		}
		readers(b, func() string { return v.GetString("a.b.c") }, nil)
	})
}

// BenchmarkConfigPropagation is one write to config-srv and how long after it
// each of 100 watchers has the value.
func BenchmarkConfigPropagation(b *testing.B) {
	const watchers = 100
	net := rpctest.New(b)
	net.Boot(configsrv.New())
	api := pb.NewConfigService(config.ServiceName, net.Client(rpctest.GRPC))
	change := func(i int) *pb.Change {
		return &pb.Change{Id: "prod:shop", ChangeSet: &pb.ChangeSet{Data: fmt.Sprintf(`{"n":%d}`, i)}}
	}
	if _, err := api.Create(b.Context(), &pb.CreateRequest{Change: change(0)}); err != nil {
		b.Fatal(err)
	}
	arrived := make(chan time.Time, watchers)
	for range watchers {
		c := config.NewConfig(config.Logger(net.Logger), config.WithSource(
			config.NewSource(config.SourceName("prod:shop"), config.SourceClient(net.Client(rpctest.GRPC)))))
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		defer c.Stop()
		w, err := c.Watch("n")
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for {
				if _, err := w.Next(); err != nil {
					return
				}
				arrived <- time.Now()
			}
		}()
		rpctest.Eventually(b, "the stream is open", func() bool { return c.Status()[0].WatchErr == nil })
	}
	var delays []time.Duration
	for i := 1; b.Loop(); i++ {
		begun := time.Now()
		if _, err := api.Update(b.Context(), &pb.UpdateRequest{Change: change(i)}); err != nil {
			b.Fatal(err)
		}
		for range watchers {
			delays = append(delays, (<-arrived).Sub(begun))
		}
	}
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(delays[len(delays)-1].Microseconds())/1000, "ms-max")
	b.ReportMetric(0, "ns/op")
}
