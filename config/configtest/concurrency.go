package configtest

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testConsistency updates two keys that belong together a thousand times a
// second.
func testConsistency(t *testing.T, n New) {
	s := source("a", `{"x":0,"y":{"z":0}}`)
	c := with(t, n, s)
	var done atomic.Bool
	var torn, seen atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for last := 0; !done.Load(); seen.Add(1) {
				v := c.Snapshot()
				x, y := v.Get("x").Int(-1), v.Get("y", "z").Int(-2)
				var both struct {
					X int
					Y struct{ Z int }
				}
				if err := c.Get().Scan(&both); err != nil || both.X != both.Y.Z {
					torn.Add(1)
				}
				if x != y || x < last {
					torn.Add(1)
				}
				last = x
				runtime.Gosched() // the updates get their turn
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	const updates = 500
	for i := range updates {
		<-tick.C
		s.Update(fmt.Appendf(nil, `{"x":%d,"y":{"z":%d}}`, i+1, i+1))
	}
	eventually(t, "the last update arrives", func() bool { return c.Get("x").Int(0) == updates })
	done.Store(true)
	readers.Wait()
	if torn.Load() > 0 || seen.Load() == 0 {
		t.Errorf("%d of %d reads saw two moments at once, or time go back", torn.Load(), seen.Load())
	}
}

func testReadsAndWrites(t *testing.T, n New) {
	a, b := source("a", `{"a":0}`), source("b", `{"b":0}`)
	c := with(t, n, a, b)
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for j := range 100 {
				c.Set(j, "set", fmt.Sprint(i))
				c.Get("a").Int(0)
				c.Explain("set")
				c.Status()
				a.Update(fmt.Appendf(nil, `{"a":%d}`, j))
				b.Update(fmt.Appendf(nil, `{"b":%d}`, j))
				c.Bytes()
			}
			c.Set("end", "set", fmt.Sprint(i))
		})
	}
	work.Wait()
	a.Update([]byte(`{"a":"end"}`))
	b.Update([]byte(`{"b":"end"}`))
	eventually(t, "all ended", func() bool {
		return string(c.Bytes()) == `{"a":"end","b":"end","set":{"0":"end","1":"end","2":"end","3":"end"}}`
	})
}

func testSnapshot(t *testing.T, n New) {
	s := source("a", `{"a":1}`)
	c := with(t, n, s)
	v := c.Snapshot()
	s.Update([]byte(`{"a":2}`))
	eventually(t, "the update arrives", func() bool { return c.Get("a").Int(0) == 2 })
	if got := v.Get("a").Int(0); got != 1 {
		t.Errorf("the snapshot changed: %d", got)
	}
	v.Set(3, "a")
	v.Del("a")
	if got := c.Get("a").Int(0); got != 2 || string(v.Bytes()) != "{}" {
		t.Errorf("Set on the snapshot: config %d, snapshot %s", got, v.Bytes())
	}
}
