// Package kvtest is what every kv plugin must do. Run holds for all; the others
// are chosen by what a plugin offers.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
	"github.com/micro/go-platform/kv"
)

// New makes a KV that is not started, on the server of the test.
type New func(tb testing.TB, opts ...kv.Option) kv.KV

// Start returns a KV that is stopped when the test ends.
func (n New) Start(tb testing.TB, opts ...kv.Option) kv.KV {
	tb.Helper()
	k := n(tb, opts...)
	if err := k.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := k.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return k
}

// Fresh returns a key that nobody used.
func Fresh() string { return fmt.Sprintf("kvtest-%016x", rand.Uint64()) }

// Run is the suite for every plugin.
func Run(t *testing.T, n New) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, New)
	}{
		{"PutGetDel", testPutGetDel}, {"Bytes", testBytes}, {"Keys", testKeys}, {"Copies", testCopies},
		{"Expiration", testExpiration}, {"PutReplacesExpiration", testReplaces}, {"LongExpiration", testLong},
		{"Namespaces", testNamespaces}, {"BadInput", testBadInput}, {"Context", testContext},
		{"Concurrent", testConcurrent}, {"Lifecycle", testLifecycle}, {"EveryCall", testEveryCall}, {"Texts", testTexts},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, n) })
	}
}

func put(tb testing.TB, k kv.KV, key, value string, ttl time.Duration) {
	tb.Helper()
	if err := k.Put(&kv.Item{Key: key, Value: []byte(value), Expiration: ttl}); err != nil {
		tb.Fatalf("put %.40q: %v", key, err)
	}
}

func want(tb testing.TB, k kv.KV, key, value string) *kv.Item {
	tb.Helper()
	item, err := k.Get(key)
	if err != nil {
		tb.Fatalf("get %.40q: %v", key, err)
	}
	if item.Key != key || string(item.Value) != value {
		tb.Fatalf("get %.40q: %.40q = %.40q, want %.40q", key, item.Key, item.Value, value)
	}
	return item
}

func wantErr(tb testing.TB, what string, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("%s: %v, want %v", what, err, want)
	}
}

func absent(tb testing.TB, k kv.KV, key string) {
	tb.Helper()
	item, err := k.Get(key)
	if item != nil || !errors.Is(err, kv.ErrNotFound) {
		tb.Fatalf("get %.40q: %+v, %v, want ErrNotFound", key, item, err)
	}
}

// Eventually polls until ok holds.
func Eventually(tb testing.TB, bound time.Duration, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatal("never happened: " + what)
}

func testPutGetDel(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	absent(t, k, key)
	if err := k.Del(key); err != nil {
		t.Errorf("del of nothing: %v", err)
	}
	put(t, k, key, "one", 0)
	if item := want(t, k, key, "one"); item.Expiration != 0 {
		t.Errorf("expiration %v, want 0", item.Expiration)
	}
	put(t, k, key, "two", 0)
	want(t, k, key, "two")
	if err := k.Del(key); err != nil {
		t.Error(err)
	}
	absent(t, k, key)
	put(t, k, key, "", 0)
	want(t, k, key, "")
}

func testBytes(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	for _, value := range [][]byte{all, bytes.Repeat(all, 40), bytes.Repeat([]byte{'x'}, kv.MaxValue)} {
		put(t, k, key, string(value), 0)
		want(t, k, key, string(value))
	}
}

// Keys that are special to some server.
func testKeys(t *testing.T, n New) {
	k, prefix := n.Start(t), Fresh()
	keys := []string{
		" ", "a b", "a\r\nset x 0 0 1\r\ny", "a\x00b", "\xff\xfe", "ключ", "a/b", "a/../b", "..", ".", "/", "//", "a//b", "a?b=c#d", "%2e%2e", "{a}b", "*",
		"A", "a", "a:b", ":", "#", strings.Repeat("k", 251-len(prefix)), strings.Repeat("l", kv.MaxKey-len(prefix)),
		strings.Repeat("l", kv.MaxKey-len(prefix)-1) + "m",
	}
	for i, key := range keys {
		put(t, k, prefix+key, fmt.Sprint(i), 0)
	}
	for i, key := range keys {
		want(t, k, prefix+key, fmt.Sprint(i))
	}
	for _, key := range keys {
		if err := k.Del(prefix + key); err != nil {
			t.Errorf("del %.40q: %v", key, err)
		}
		absent(t, k, prefix+key)
	}
	for _, key := range []string{" ", "..", "/", ".", "\r\n"} { // by itself
		put(t, k, key, "alone", 0)
		want(t, k, key, "alone")
	}
}

func testCopies(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	value := []byte("value")
	if err := k.Put(&kv.Item{Key: key, Value: value}); err != nil {
		t.Fatal(err)
	}
	value[0] = 'X'
	item := want(t, k, key, "value")
	item.Value[0] = 'Y'
	want(t, k, key, "value")
}

func testExpiration(t *testing.T, n New) {
	k := n.Start(t)
	for _, ttl := range []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond} {
		key, begun := Fresh(), time.Now()
		put(t, k, key, "v", ttl)
		done := time.Now()
		item, err := k.Get(key)
		switch {
		case err == nil && (item.Expiration <= 0 || item.Expiration > ttl):
			t.Errorf("%v after put: %v left", ttl, item.Expiration)
		case err != nil && time.Since(begun) < ttl:
			t.Errorf("%v: %v before its time", ttl, err)
		}
		Eventually(t, time.Minute, "expiration", func() bool {
			_, err := k.Get(key)
			return errors.Is(err, kv.ErrNotFound)
		})
		// The few milliseconds are for servers that count in whole ones.
		if lived := time.Since(begun); lived < ttl-5*time.Millisecond {
			t.Errorf("%v: gone after %v", ttl, lived)
		}
		if lived := time.Since(done); lived > ttl+10*time.Second {
			t.Errorf("%v: still there after %v", ttl, lived)
		}
	}
	key := Fresh()
	put(t, k, key, "v", 1) // a nanosecond is not for ever
	Eventually(t, time.Minute, "expiration of a nanosecond", func() bool {
		_, err := k.Get(key)
		return errors.Is(err, kv.ErrNotFound)
	})
}

func testReplaces(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	put(t, k, key, "short", 400*time.Millisecond)
	put(t, k, key, "long", 0)
	other := Fresh()
	put(t, k, other, "v", 400*time.Millisecond)
	Eventually(t, time.Minute, "expiration of another", func() bool {
		_, err := k.Get(other)
		return errors.Is(err, kv.ErrNotFound)
	})
	if item := want(t, k, key, "long"); item.Expiration != 0 {
		t.Errorf("%v left", item.Expiration)
	}
	put(t, k, key, "short again", 200*time.Millisecond)
	Eventually(t, time.Minute, "expiration", func() bool {
		_, err := k.Get(key)
		return errors.Is(err, kv.ErrNotFound)
	})
}

// Beyond 30 days memcached takes a time for a date, in 1970.
func testLong(t *testing.T, n New) {
	k := n.Start(t)
	for _, ttl := range []time.Duration{30*24*time.Hour - time.Second, 31 * 24 * time.Hour, kv.MaxTTL} {
		key := Fresh()
		put(t, k, key, "v", ttl)
		if item := want(t, k, key, "v"); item.Expiration > ttl+time.Second || item.Expiration < ttl-time.Minute {
			t.Errorf("%v: %v left", ttl, item.Expiration)
		}
	}
}

func testNamespaces(t *testing.T, n New) {
	a, b := n.Start(t, kv.Namespace("kvtest-a")), n.Start(t, kv.Namespace("kvtest-b"))
	key := Fresh()
	put(t, a, key, "of a", 0)
	absent(t, b, key)
	put(t, b, key, "of b", 0)
	want(t, a, key, "of a")
	if err := b.Del(key); err != nil {
		t.Error(err)
	}
	want(t, a, key, "of a")
	// Whatever stands between namespace and key, no key leads out.
	for _, out := range []string{"../kvtest-a/" + key, "/kvtest-a/" + key, "kvtest-a:" + key, "kvtest-a/" + key, ":kvtest-a:" + key} {
		absent(t, b, out)
	}
}

func testBadInput(t *testing.T, n New) {
	k := n.Start(t)
	for name, item := range map[string]*kv.Item{
		"nil": nil, "no key": {}, "long key": {Key: strings.Repeat("k", kv.MaxKey+1)},
		"large value":         {Key: "k", Value: make([]byte, kv.MaxValue+1)},
		"negative expiration": {Key: "k", Expiration: -1}, "endless expiration": {Key: "k", Expiration: kv.MaxTTL + 1},
	} {
		wantErr(t, "put "+name, k.Put(item), kv.ErrInvalid)
	}
	for _, key := range []string{"", strings.Repeat("k", kv.MaxKey+1)} {
		_, err := k.Get(key)
		wantErr(t, "get", err, kv.ErrInvalid)
		wantErr(t, "del", k.Del(key), kv.ErrInvalid)
	}
	for text, opt := range map[string]kv.Option{
		`Namespace: "a:b" is not 1 to 64 of letters, digits, '.', '_' and '-'`: kv.Namespace("a:b"),
		`Namespace: "" is not 1 to 64 of letters, digits, '.', '_' and '-'`:    kv.Namespace(""),
		"Replicas: 0 is not within 1 to 9":                                     kv.Replicas(0),
		"Quorum: 4 and 1 are not within 0 to the 3 of Replicas":                kv.Quorum(4, 1),
		"MaxBytes: 0 is not positive":                                          kv.MaxBytes(0),
		`Servers: ["a:1" ""] has an empty address`:                             kv.Servers([]string{"a:1", ""}),
		"Suspicion: 1ns is less than 100ms":                                    kv.Suspicion(1),
	} {
		bad := n(t, opt)
		if err := bad.Start(); !errors.Is(err, kv.ErrInvalid) || err.Error() != "kv: option "+text {
			t.Errorf("%v, want %s", err, text)
		}
		if err := bad.Stop(); err != nil {
			t.Errorf("stop after a failed start: %v", err)
		}
	}
}

// What leaves the package says whose it is, and about what.
func testTexts(t *testing.T, n New) {
	k := n.Start(t)
	_, err := k.Get("kvtest-nothing")
	wantText(t, err, `kv: get "kvtest-nothing": not found`)
	_, err = k.Get("")
	wantText(t, err, "kv: invalid argument: a key of 0 bytes is not within 1 to 1024")
	wantText(t, k.Put(nil), "kv: invalid argument: the item is nil")
	wantText(t, k.Put(&kv.Item{Key: "k", Expiration: -1}), "kv: invalid argument: an expiration of -1ns is not within 0 to 87600h0m0s")
	wantText(t, k.Put(&kv.Item{Key: "k", Value: make([]byte, kv.MaxValue+1)}), "kv: invalid argument: a value of 384001 bytes is above 384000")
}

func wantText(tb testing.TB, err error, want string) {
	tb.Helper()
	if err == nil || err.Error() != want {
		tb.Errorf("%v, want %s", err, want)
	}
}

func testContext(t *testing.T, n New) {
	k, key := n.Start(t), Fresh()
	ctx, cancel := context.WithCancel(context.Background())
	if err := k.Put(&kv.Item{Key: key, Value: []byte("v")}, kv.WithContext(ctx)); err != nil {
		t.Error(err)
	}
	if _, err := k.Get(key, kv.WithContext(ctx)); err != nil {
		t.Error(err)
	}
	cancel()
	_, err := k.Get(key, kv.WithContext(ctx))
	wantErr(t, "get", err, context.Canceled)
	wantErr(t, "del", k.Del(key, kv.WithContext(ctx)), context.Canceled)
	wantErr(t, "put", k.Put(&kv.Item{Key: key}, kv.WithContext(ctx)), context.Canceled)
	want(t, k, key, "v")
}

func testConcurrent(t *testing.T, n New) {
	k, prefix := n.Start(t), Fresh()
	parallel(t, 8, func(i int) error {
		key := fmt.Sprint(prefix, i)
		for j := range 20 {
			value := fmt.Sprint(i, j)
			if err := k.Put(&kv.Item{Key: key, Value: []byte(value)}); err != nil {
				return err
			}
			item, err := k.Get(key)
			if err != nil {
				return err
			}
			if string(item.Value) != value {
				return fmt.Errorf("%s is %q, want %q", key, item.Value, value)
			}
		}
		return k.Del(key)
	})
}

// parallel runs f n times at once.
func parallel(tb testing.TB, n int, f func(i int) error) {
	tb.Helper()
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	for range n {
		if err := <-errs; err != nil {
			tb.Error(err)
		}
	}
}

// testLifecycle is what all plugins of all features have in common.
func testLifecycle(t *testing.T, n New) {
	lifecycletest.Run(t, lifecycletest.Case[kv.KV, kv.Option]{
		New: n, Call: Call,
		Bad: kv.Timeout(-time.Second), Text: "kv: option Timeout: -1s is not positive", NilLogger: kv.Logger(nil),
	})
}

// Each method starts a new plugin, and is refused by one that was stopped.
func testEveryCall(t *testing.T, n New) {
	for name, call := range map[string]func(k kv.KV) error{
		"Get": func(k kv.KV) error {
			_, err := k.Get(Fresh())
			if errors.Is(err, kv.ErrNotFound) {
				err = nil
			}
			return err
		},
		"Put": func(k kv.KV) error { return k.Put(&kv.Item{Key: Fresh()}) },
		"Del": func(k kv.KV) error { return k.Del(Fresh()) },
		"GetMany": func(k kv.KV) error {
			many, ok := k.(kv.Many)
			if !ok {
				return k.Del(Fresh())
			}
			_, err := many.GetMany([]string{Fresh()})
			return err
		},
	} {
		k := n(t)
		if err := call(k); err != nil {
			t.Errorf("%s as the first call: %v", name, err)
		}
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
		if err := call(k); !errors.Is(err, kv.ErrStopped) || err.Error() != "kv: stopped" {
			t.Errorf("%s after Stop: %v", name, err)
		}
		bad := n(t, kv.Timeout(0))
		if err := call(bad); !errors.Is(err, kv.ErrInvalid) || err.Error() != "kv: option Timeout: 0s is not positive" {
			t.Errorf("%s with a bad option: %v", name, err)
		}
	}
}
