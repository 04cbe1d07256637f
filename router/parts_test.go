package router_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/router"
	pb "github.com/micro/go-platform/router/proto"
)

// TestTheBudgetIsAFifthAtAnyTime: whatever comes first, calls or failures.
func TestTheBudgetIsAFifthAtAnyTime(t *testing.T) {
	for _, healthy := range []int{0, 10, 1000} {
		b := router.NewBudget(0.2, 10)
		calls, retries := healthy, 0
		for range healthy {
			b.Deposit()
		}
		for range 1000 {
			calls++
			b.Deposit()
			for range 3 { // as often as it lets
				if b.Withdraw() {
					retries++
				}
			}
			if float64(retries) > max(10, 0.2*float64(calls)) {
				t.Fatalf("%d retries of %d calls", retries, calls)
			}
		}
		if float64(retries) < 0.19*1000 {
			t.Errorf("%d healthy calls: only %d retries of 1000 failing ones", healthy, retries)
		}
	}
	none := router.NewBudget(0, 10)
	none.Deposit()
	if none.Withdraw() {
		t.Error("a ratio of 0 allows a retry")
	}
}

func TestSharesOfCentralLimits(t *testing.T) {
	l := router.NewLimits()
	l.Share(&pb.Share{Concurrency: 2})
	a, b := l.Admit(0), l.Admit(0)
	if a == nil || b == nil || l.Admit(0) != nil {
		t.Fatal("not two at a time")
	}
	a(time.Second)
	if a = l.Admit(time.Second); a == nil {
		t.Fatal("no room after one ended")
	}
	a(time.Second)
	b(time.Second)
	// A quarter of a call at a time: after one of a second three of rest.
	l.Share(&pb.Share{Concurrency: 0.25})
	if a = l.Admit(2 * time.Second); a == nil || l.Admit(2*time.Second) != nil {
		t.Fatal("not one at a time")
	}
	a(3 * time.Second)
	if l.Admit(5900*time.Millisecond) != nil {
		t.Error("let in during the rest")
	}
	if a = l.Admit(6 * time.Second); a == nil {
		t.Fatal("not let in after it")
	}
	a(6 * time.Second)
	l.Share(nil)
	for range 10 {
		if l.Admit(6*time.Second) == nil {
			t.Fatal("no limit, still refused")
		}
	}
	l.Share(&pb.Share{RequestsPerSecond: 0.001})
	if l.Admit(7*time.Second) == nil || l.Admit(7*time.Second) != nil {
		t.Error("a rate below one is not one at once")
	}
}

// TestOverloadIsRefusedAndWorkGoesOn: a server that works on eight calls at a
// time and lets the rest wait is offered fifty.
func TestOverloadIsRefusedAndWorkGoesOn(t *testing.T) {
	r := router.NewRouter(router.Standalone(), router.ServerConcurrency(200))
	work := make(chan struct{}, 8)
	var refused, done atomic.Int64
	h := router.HandlerWrapper(r)(func(context.Context, server.Request, any) error {
		work <- struct{}{}
		time.Sleep(2 * time.Millisecond)
		<-work
		return nil
	})
	var callers sync.WaitGroup
	for begun := time.Now(); time.Since(begun) < time.Second; {
		for range 50 {
			callers.Go(func() {
				if err := h(t.Context(), unary{}, nil); router.Limited(err) {
					refused.Add(1)
				} else if err == nil {
					done.Add(1)
				}
			})
		}
		callers.Wait()
	}
	if refused.Load() == 0 || done.Load() < 100 {
		t.Errorf("%d refused, %d done", refused.Load(), done.Load())
	}
	t.Logf("%d refused, %d done", refused.Load(), done.Load())
}

func TestMetrics(t *testing.T) {
	m := router.Measure(time.Millisecond, 2*time.Millisecond, 3*time.Millisecond, 10*time.Second, -time.Second, 1000*time.Hour)
	if m.Count != 6 || m.Max != 3_600_000_000 {
		t.Errorf("%+v", m)
	}
	m = router.Measure(time.Millisecond, 3*time.Millisecond)
	if m.Mean != 2 || math.Abs(m.StdDev-1) > 0.01 || m.P50 < 0.9 || m.P50 > 1.3 || m.P99 != 3 {
		t.Errorf("%+v", m)
	}
	// Buckets as router.proto has them.
	for _, c := range []struct{ us, bucket int }{{0, 0}, {3, 3}, {4, 4}, {7, 7}, {8, 8}, {9, 8}, {10, 9}, {15, 11}, {16, 12}, {1000, 35}} {
		b := router.Measure(time.Duration(c.us) * time.Microsecond).Buckets
		if len(b) != c.bucket+1 || b[c.bucket] != 1 {
			t.Errorf("%d µs is in bucket %d, want %d", c.us, len(b)-1, c.bucket)
		}
	}
	if router.Measure() != nil {
		t.Error("metrics of nothing")
	}
}

func TestLabelsInMetadata(t *testing.T) {
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprint(router.LabelPrefix, i)] = "x"
	}
	for _, c := range []struct {
		name   string
		md     map[string]string
		accept []string
		want   map[string]string
	}{
		{"none", nil, nil, map[string]string{}},
		{"any case", map[string]string{"x-micro-LABEL-Env": "Prod", "other": "1"}, nil, map[string]string{"env": "prod"}},
		{"accepted", map[string]string{"X-Micro-Label-Env": "a", "X-Micro-Label-Tier": "b"}, []string{"TIER"}, map[string]string{"tier": "b"}},
		{"none accepted", map[string]string{"X-Micro-Label-Env": "a"}, []string{}, map[string]string{}},
		{"no name", map[string]string{"X-Micro-Label-": "a"}, nil, map[string]string{}},
		{"too long, not accepted", map[string]string{"X-Micro-Label-Env": strings.Repeat("a", 200)}, []string{"tier"}, map[string]string{}},
		{"two spellings", map[string]string{"X-Micro-Label-Env": "b", "x-micro-label-env": "a"}, nil, map[string]string{"env": "a"}},
	} {
		if got, err := router.LabelsIn(c.md, c.accept); err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	for name, md := range map[string]map[string]string{
		"many": many, "long value": {"X-Micro-Label-Env": strings.Repeat("a", 129)}, "long name": {"X-Micro-Label-" + strings.Repeat("b", 129): "c"},
	} {
		if got, err := router.LabelsIn(md, nil); !errors.Is(err, router.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestDialled(t *testing.T) {
	for text, address := range map[string]string{
		"dial tcp 127.0.0.1:80: connect: connection refused":          "127.0.0.1:80",
		"dial tcp [::1]:80: connect: connection refused":              "[0:0:0:0:0:0:0:1]:80",
		"dial tcp 127.0.0.1:81: connect: connection refused":          "localhost:81",
		"dial tcp: lookup shop.invalid: no such host":                 "shop.invalid:80",
		"dial tcp: lookup shop.invalid on 127.0.0.1:53: no such host": "shop.invalid:80",
	} {
		if !router.Dialled(text, address) {
			t.Errorf("%s: not of %s", text, address)
		}
	}
	for text, address := range map[string]string{
		"dial tcp 127.0.0.1:80: connect: connection refused": "localhost:8",
		"dial tcp 10.0.0.9:81: connect: connection refused":  "localhost:81",
		"dial tcp: lookup shop.invalid: no such host":        "shop:80",
		"handled, and failed":                                "localhost:80",
	} {
		if router.Dialled(text, address) {
			t.Errorf("%s: of %s", text, address)
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("X-Micro-Label-Env", "prod", "env")
	f.Add("x-micro-label-", "", "")
	f.Add("X-MICRO-LABEL-\x00\xff", "\n", "\x00\xff")
	f.Fuzz(func(t *testing.T, key, value, accept string) {
		labels, err := router.LabelsIn(map[string]string{key: value}, []string{accept})
		if long := len(value) > 128 || len(key) > 128; err != nil && !long {
			t.Errorf("%q: %q: %v", key, value, err)
		}
		for k, v := range labels {
			if !strings.EqualFold(k, accept) && strings.ToLower(accept) != k || v != strings.ToLower(value) {
				t.Errorf("%q: %q became %q: %q", key, value, k, v)
			}
		}
	})
}

func TestContext(t *testing.T) {
	if _, ok := router.FromContext(t.Context()); ok {
		t.Error("a router from nowhere")
	}
	r := router.NewRouter(router.Standalone())
	if got, ok := router.FromContext(router.NewContext(t.Context(), r)); !ok || got != r {
		t.Error("not the one that was put in")
	}
	if r.String() != "platform" {
		t.Error(r.String())
	}
}
