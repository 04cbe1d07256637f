package kvtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/kv"
)

// RunLink is the suite of what happens when the way to the server is bad. The
// plugin has all optional abilities.
func RunLink(t *testing.T, r Remote) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Remote)
	}{
		{"LostAnswer", testLostAnswer}, {"Cancel", testCancel}, {"BlackHole", testBlackHole}, {"Rounds", testRounds},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, r) })
	}
}

// all is what the suite asks of a plugin here.
type all interface {
	kv.KV
	kv.Adder
	kv.CAS
	kv.Counter
	kv.Toucher
	kv.Many
}

// lost are calls whose answer gets lost. What each leaves behind is one of those
// named, the last if it said that it was done.
var lost = []struct {
	name   string
	before *kv.Item
	call   func(k all, key string) error
	after  []string // "" is none
}{
	{"incr of nothing", nil, func(k all, key string) error { return incr(k, key, 1) }, []string{"", "1"}},
	{"incr", &kv.Item{Value: []byte("41")}, func(k all, key string) error { return incr(k, key, 42) }, []string{"41", "42"}},
	{
		"incr of what ends", &kv.Item{Value: []byte("41"), Expiration: time.Hour},
		func(k all, key string) error { return incr(k, key, 42) }, []string{"41", "42"},
	},
	{"add", nil, func(k all, key string) error { return k.Add(&kv.Item{Key: key, Value: []byte("v")}) }, []string{"", "v"}},
	{
		"compare and swap", &kv.Item{Value: []byte("a")},
		func(k all, key string) error {
			return k.CompareAndSwap([]byte("a"), &kv.Item{Key: key, Value: []byte("b")})
		}, []string{"a", "b"},
	},
	{
		"touch", &kv.Item{Value: []byte("v"), Expiration: time.Hour},
		func(k all, key string) error { return k.Touch(key, time.Minute) }, []string{"v"},
	},
	{
		"put", &kv.Item{Value: []byte("a"), Expiration: time.Hour},
		func(k all, key string) error {
			return k.Put(&kv.Item{Key: key, Value: []byte("b"), Expiration: time.Hour})
		}, []string{"a", "b"},
	},
	{"del", &kv.Item{Value: []byte("a")}, func(k all, key string) error { return k.Del(key) }, []string{"a", ""}},
}

func incr(k kv.Counter, key string, want int64) error {
	sum, err := k.Incr(key, 1)
	if err == nil && sum != want {
		err = fmt.Errorf("incremented to %d, want %d", sum, want)
	}
	return err
}

// The connection dies after the server has done what it was asked. Each call has
// several answers with some plugins: each of them is lost once.
func testLostAnswer(t *testing.T, r Remote) {
	link := netcut.New(t, r.Addr)
	k, direct := r.At(link.Addr).Start(t, kv.Timeout(2*time.Second)).(all), r.New.Start(t)
	failed := 0
	for _, call := range lost {
		for answer := range 6 {
			key := Fresh()
			if call.before != nil {
				item := *call.before
				item.Key = key
				if err := direct.Put(&item); err != nil {
					t.Fatal(err)
				}
			}
			Eventually(t, 10*time.Second, "the link works", func() bool { return k.Put(&kv.Item{Key: Fresh()}) == nil })
			link.Lose(answer + 1)
			err := call.call(k, key)
			link.Lose(0)
			allowed := call.after
			if err == nil {
				allowed = allowed[len(allowed)-1:]
			} else {
				failed++
				wantErr(t, call.name, err, kv.ErrUnavailable)
			}
			oneOf(t, fmt.Sprintf("%s, answer %d lost, %v", call.name, answer+1, err), direct, key, allowed)
		}
	}
	if failed == 0 { // of one kind it may be, where what was lost could be asked for again
		t.Error("no lost answer was told")
	}
}

func oneOf(tb testing.TB, what string, k kv.KV, key string, values []string) {
	tb.Helper()
	is := ""
	item, err := k.Get(key)
	if err == nil {
		is = string(item.Value)
	} else if !errors.Is(err, kv.ErrNotFound) {
		tb.Fatal(err)
	}
	for _, value := range values {
		if is == value {
			return
		}
	}
	tb.Errorf("%s: left %q, want one of %q", what, is, values)
}

// calls are all kinds, with their context.
func calls(k all) map[string]func(opt kv.CallOption) error {
	key, item := Fresh(), func() *kv.Item { return &kv.Item{Key: "k", Value: []byte("v"), Expiration: time.Hour} }
	return map[string]func(opt kv.CallOption) error{
		"get":   func(o kv.CallOption) error { _, err := k.Get(key, o); return err },
		"many":  func(o kv.CallOption) error { _, err := k.GetMany([]string{key, "k"}, o); return err },
		"put":   func(o kv.CallOption) error { return k.Put(item(), o) },
		"del":   func(o kv.CallOption) error { return k.Del(key, o) },
		"add":   func(o kv.CallOption) error { return k.Add(item(), o) },
		"swap":  func(o kv.CallOption) error { return k.CompareAndSwap([]byte("v"), item(), o) },
		"incr":  func(o kv.CallOption) error { _, err := k.Incr(key, 1, o); return err },
		"touch": func(o kv.CallOption) error { return k.Touch(key, time.Hour, o) },
	}
}

// Calls end with their context, long before their own timeout, when the server
// falls silent on connections that worked.
func testCancel(t *testing.T, r Remote) {
	link := netcut.New(t, r.Addr)
	k := r.At(link.Addr).Start(t, kv.Timeout(time.Minute)).(all)
	put(t, k, Fresh(), "v", 0)
	link.Cut()
	began := time.Now()
	for name, call := range calls(k) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		wantErr(t, name, call(kv.WithContext(ctx)), context.DeadlineExceeded)
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		wantErr(t, name, call(kv.WithContext(ctx)), context.Canceled)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("all took %v", took)
	}
	link.Heal()
	Eventually(t, 20*time.Second, "works again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return k.Put(&kv.Item{Key: Fresh()}, kv.WithContext(ctx)) == nil
	})
}

// Whoever gives a silent server up leaves nothing behind that grows with the
// calls, nor anything that Stop would wait for.
func testBlackHole(t *testing.T, r Remote) {
	hole, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hole.Close() }() // nothing was there
	k := r.At(hole.Addr().String())(t, kv.Timeout(time.Minute))
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	parallel(t, 4, func(int) error {
		for range 75 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, err := k.Get("k", kv.WithContext(ctx))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("get: %w", err)
			}
		}
		return nil
	})
	if more := runtime.NumGoroutine() - before; more > 150 {
		t.Errorf("%d goroutines more after 300 calls", more)
	}
	began := time.Now()
	if err := k.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stop took %v", took)
	}
}

// GetMany asks once. The best of several counts: a new connection begins with a
// greeting, and HTTP/2 says things of its own in between.
func testRounds(t *testing.T, r Remote) {
	link := netcut.New(t, r.Addr)
	k := r.At(link.Addr).Start(t).(all)
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprint(Fresh(), i))
		put(t, k, keys[i], "v", 0)
	}
	best := len(keys)
	for range 10 {
		before := link.Rounds()
		if found, err := k.GetMany(keys); err != nil || len(found) != len(keys) {
			t.Fatalf("%d found, %v", len(found), err)
		}
		best = min(best, link.Rounds()-before)
	}
	if best != 1 {
		t.Errorf("%d round trips", best)
	}
}
