package config_test

import (
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
)

func BenchmarkGet(b *testing.B) {
	c := config.NewConfig(quiet(), config.WithSource(memory.NewSource(memory.Data([]byte(`{"a":{"b":{"c":"value","i":42}},"x":1}`)))))
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	defer c.Stop()
	// As users hold it, so that the compiler does not see what is behind it.
	configs := []config.Config{c}
	for name, get := range map[string]func(c config.Config){
		"String":  func(c config.Config) { c.Get("a", "b", "c").String("") },
		"Int":     func(c config.Config) { c.Get("a", "b", "i").Int(0) },
		"Missing": func(c config.Config) { c.Get("a", "b", "none").String("") },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				get(configs[0])
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	c := config.NewConfig(quiet(), config.WithSource(memory.NewSource()))
	defer c.Stop()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Set(i, "a", "b", "c")
	}
}
