package stamp_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/stamp"
)

func TestRoundTrip(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 1500 * time.Microsecond, 87600 * time.Hour} {
		value, left, ok := stamp.Cut(stamp.Put([]byte("v"), ttl))
		if !ok || string(value) != "v" || left > ttl+time.Millisecond || left < ttl-time.Second {
			t.Errorf("%v: %q, %v, %v", ttl, value, left, ok)
		}
	}
	if _, _, ok := stamp.Cut(stamp.Put(nil, -time.Second)); ok {
		t.Error("alive after its end")
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("1234567"))
	f.Add(stamp.Put([]byte("v"), time.Hour))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, left, ok := stamp.Cut(b)
		if ok && (left <= 0 || !bytes.HasSuffix(b, value) || len(value) != len(b)-8) {
			t.Errorf("%x: %x, %v", b, value, left)
		}
	})
}
