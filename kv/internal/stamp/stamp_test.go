package stamp_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/micro/go-platform/kv/internal/stamp"
)

func TestRoundTrip(t *testing.T) {
	now := time.Now()
	for _, ttl := range []time.Duration{time.Minute, 1500 * time.Microsecond, 87600 * time.Hour} {
		value, left, ok := stamp.Cut(stamp.Put([]byte("v"), now, ttl), now)
		if !ok || string(value) != "v" || left > ttl+time.Millisecond || left <= ttl-time.Millisecond {
			t.Errorf("%v: %q, %v, %v", ttl, value, left, ok)
		}
	}
	if _, _, ok := stamp.Cut(stamp.Put(nil, now, time.Second), now.Add(time.Second+time.Millisecond)); ok {
		t.Error("alive after its end")
	}
}

// What is left of a life, written back, ends when the life did, at any moment.
func TestTheEndStays(t *testing.T) {
	now := time.Now()
	was := stamp.Put([]byte("v"), now, time.Second)
	for range 2000 {
		now = now.Add(499_999 * time.Nanosecond)
		value, left, ok := stamp.Cut(was, now)
		if is := stamp.Put(value, now, left); ok && !bytes.Equal(is, was) {
			t.Fatalf("%v before its end: %x became %x", left, was, is)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("1234567"))
	f.Add(stamp.Put([]byte("v"), time.Now(), time.Hour))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, left, ok := stamp.Cut(b, time.Now())
		if ok && (left <= 0 || !bytes.HasSuffix(b, value) || len(value) != len(b)-8) {
			t.Errorf("%x: %x, %v", b, value, left)
		}
	})
}
