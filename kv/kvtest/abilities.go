package kvtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/micro/go-platform/kv"
)

// RunAll is every optional suite but that of fencing tokens.
func RunAll(t *testing.T, n New) {
	t.Run("Adder", func(t *testing.T) { RunAdder(t, n) })
	t.Run("CAS", func(t *testing.T) { RunCAS(t, n) })
	t.Run("Counter", func(t *testing.T) { RunCounter(t, n) })
	t.Run("Toucher", func(t *testing.T) { RunToucher(t, n) })
	t.Run("Many", func(t *testing.T) { RunMany(t, n) })
}

// RunAdder is the suite of plugins that are an Adder.
func RunAdder(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	a := k.(kv.Adder)
	if err := a.Add(&kv.Item{Key: key, Value: []byte("one"), Expiration: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "second add", a.Add(&kv.Item{Key: key, Value: []byte("two")}), kv.ErrExists)
	Eventually(t, time.Minute, "add to what has expired", func() bool {
		return a.Add(&kv.Item{Key: key, Value: []byte("three")}) == nil
	})
	want(t, k, key, "three")
	wantErr(t, "bad item", a.Add(nil), kv.ErrInvalid)

	key = Fresh()
	added := make(chan int, 8)
	parallel(t, 8, func(i int) error {
		err := a.Add(&kv.Item{Key: key, Value: []byte(strconv.Itoa(i))})
		if err == nil {
			added <- i
		}
		if errors.Is(err, kv.ErrExists) {
			err = nil
		}
		return err
	})
	if len(added) != 1 {
		t.Fatalf("%d of 8 created one key", len(added))
	}
	want(t, k, key, strconv.Itoa(<-added))
}

// RunCAS is the suite of plugins that are a CAS.
func RunCAS(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	c := k.(kv.CAS)
	next := func(value string) *kv.Item { return &kv.Item{Key: key, Value: []byte(value)} }
	wantErr(t, "swap of nothing", c.CompareAndSwap(nil, next("x")), kv.ErrNotFound)
	put(t, k, key, "a", 0)
	wantErr(t, "swap of another", c.CompareAndSwap([]byte("b"), next("x")), kv.ErrConflict)
	wantErr(t, "bad item", c.CompareAndSwap(nil, &kv.Item{}), kv.ErrInvalid)
	if err := c.CompareAndSwap([]byte("a"), next("b")); err != nil {
		t.Error(err)
	}
	want(t, k, key, "b")
	if err := c.CompareAndSwap([]byte("b"), &kv.Item{Key: key, Value: []byte("c"), Expiration: 300 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	Eventually(t, time.Minute, "expiration of what was swapped in", func() bool {
		_, err := k.Get(key)
		return errors.Is(err, kv.ErrNotFound)
	})
	wantErr(t, "swap of what has expired", c.CompareAndSwap([]byte("c"), next("x")), kv.ErrNotFound)

	put(t, k, key, "0", 0)
	parallel(t, 4, func(int) error {
		for done := 0; done < 10; {
			item, err := k.Get(key)
			if err != nil {
				return err
			}
			number, err := strconv.Atoi(string(item.Value))
			if err != nil {
				return err
			}
			err = c.CompareAndSwap(item.Value, next(strconv.Itoa(number+1)))
			if err == nil {
				done++
			} else if !errors.Is(err, kv.ErrConflict) {
				return err
			}
		}
		return nil
	})
	want(t, k, key, "40")
}

// RunCounter is the suite of plugins that are a Counter.
func RunCounter(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	c := k.(kv.Counter)
	for _, step := range []struct{ delta, sum int64 }{{5, 5}, {-7, -2}, {0, -2}, {1 << 62, 1<<62 - 2}} {
		if sum, err := c.Incr(key, step.delta); err != nil || sum != step.sum {
			t.Fatalf("incr %d: %d, %v, want %d", step.delta, sum, err, step.sum)
		}
	}
	_, err := c.Incr(key, 1<<62+2)
	wantErr(t, "overflow", err, kv.ErrInvalid)
	want(t, k, key, strconv.Itoa(1<<62-2))
	put(t, k, key, "text", 0)
	_, err = c.Incr(key, 1)
	wantErr(t, "incr of a text", err, kv.ErrInvalid)
	_, err = c.Incr("", 1)
	wantErr(t, "incr without a key", err, kv.ErrInvalid)

	key = Fresh()
	put(t, k, key, "41", time.Hour)
	if sum, err := c.Incr(key, 1); err != nil || sum != 42 {
		t.Errorf("%d, %v, want 42", sum, err)
	}
	if left := want(t, k, key, "42").Expiration; left < 50*time.Minute || left > time.Hour {
		t.Errorf("%v left of an hour", left)
	}

	key = Fresh()
	parallel(t, 8, func(int) error {
		for range 10 {
			if _, err := c.Incr(key, 1); err != nil {
				return err
			}
		}
		return nil
	})
	want(t, k, key, "80")
	testCounterEnds(t, n)
}

// RunToucher is the suite of plugins that are a Toucher.
func RunToucher(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	to := k.(kv.Toucher)
	wantErr(t, "touch of nothing", to.Touch(key, time.Hour), kv.ErrNotFound)
	wantErr(t, "bad expiration", to.Touch(key, -1), kv.ErrInvalid)
	put(t, k, key, "v", 0)
	if err := to.Touch(key, time.Hour); err != nil {
		t.Fatal(err)
	}
	if left := want(t, k, key, "v").Expiration; left < 50*time.Minute || left > time.Hour+time.Second {
		t.Errorf("%v left of an hour", left)
	}
	if err := to.Touch(key, 0); err != nil {
		t.Fatal(err)
	}
	if left := want(t, k, key, "v").Expiration; left != 0 {
		t.Errorf("%v left of one that stays", left)
	}
	if err := to.Touch(key, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	Eventually(t, time.Minute, "expiration", func() bool {
		_, err := k.Get(key)
		return errors.Is(err, kv.ErrNotFound)
	})
	wantErr(t, "touch of what has expired", to.Touch(key, time.Hour), kv.ErrNotFound)
	testTouchAndPut(t, k)
}

// RunMany is the suite of plugins that are a Many.
func RunMany(t *testing.T, n New) {
	k, prefix := n.Start(t), Fresh()
	m := k.(kv.Many)
	var keys []string
	for i := range 100 {
		key := fmt.Sprint(prefix, " ", i)
		keys = append(keys, key)
		if i%2 == 0 {
			put(t, k, key, strconv.Itoa(i), 0)
		}
	}
	keys = append(keys, keys[0])
	found, err := m.GetMany(keys)
	if err != nil || len(found) != 50 {
		t.Fatalf("%d found, %v, want 50", len(found), err)
	}
	for i, key := range keys[:100] {
		item, ok := found[key]
		if ok != (i%2 == 0) || ok && (item.Key != key || string(item.Value) != strconv.Itoa(i)) {
			t.Errorf("%q: %+v", key, item)
		}
	}
	if found, err := m.GetMany(nil); err != nil || len(found) != 0 {
		t.Errorf("of no keys: %v, %v", found, err)
	}
	_, err = m.GetMany([]string{"a", ""})
	wantErr(t, "bad key", err, kv.ErrInvalid)
	_, err = m.GetMany(slices.Repeat([]string{"a"}, kv.MaxMany+1))
	wantErr(t, "too many keys", err, kv.ErrInvalid)
}

// RunFence is the suite of plugins that check fencing tokens.
func RunFence(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	write := func(value string, token uint64) error {
		return k.Put(&kv.Item{Key: key, Value: []byte(value)}, kv.Fence(token))
	}
	for _, token := range []uint64{5, 5, 7} {
		if err := write(fmt.Sprint(token), token); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "lower token", write("stale", 6), kv.ErrStale)
	wantErr(t, "del with a lower token", k.Del(key, kv.Fence(6)), kv.ErrStale)
	want(t, k, key, "7")
	put(t, k, key, "unfenced", 0)
	wantErr(t, "lower token after a write without", write("stale", 6), kv.ErrStale)
	if err := k.Del(key, kv.Fence(8)); err != nil {
		t.Fatal(err)
	}
	absent(t, k, key)
	wantErr(t, "lower token after a del", write("stale", 7), kv.ErrStale)
	if err := write("new", 8); err != nil {
		t.Error(err)
	}
	want(t, k, key, "new")
}

// RunUnfenced is the suite of plugins that cannot check fencing tokens.
func RunUnfenced(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	wantErr(t, "put", k.Put(&kv.Item{Key: key}, kv.Fence(1)), kv.ErrUnsupported)
	wantErr(t, "del", k.Del(key, kv.Fence(1)), kv.ErrUnsupported)
	absent(t, k, key)
}

// Remote is a server that the suite may harm: nobody else uses it.
type Remote struct {
	New           New
	Addr          string
	At            func(addr string) New // as New, by another address
	Kill, Restart func(tb testing.TB)
	Keeps         bool // what was written outlives a crash of the server
}

// RunFaults is the suite of what happens when the server or the way to it dies.
func RunFaults(t *testing.T, r Remote) {
	RunLink(t, r)
	k := r.New.Start(t, kv.Timeout(2*time.Second))
	key := Fresh()
	put(t, k, key, "before", 0)
	r.Kill(t)
	_, err := k.Get(key)
	wantErr(t, "get from a dead server", err, kv.ErrUnavailable)
	wantErr(t, "put to a dead server", k.Put(&kv.Item{Key: key}), kv.ErrUnavailable)
	early := r.New.Start(t, kv.Timeout(2*time.Second)) // starts without a server
	r.Restart(t)
	for _, k := range []kv.KV{k, early} {
		Eventually(t, 20*time.Second, "works after a restart", func() bool {
			return k.Put(&kv.Item{Key: key + "2", Value: []byte("after")}) == nil
		})
		want(t, k, key+"2", "after")
		if r.Keeps {
			want(t, k, key, "before")
		} else {
			absent(t, k, key)
		}
	}
}
