package renew_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/auth/internal/renew"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// origin answers with the number of the fetch of a key.
type origin struct {
	mu    sync.Mutex
	n     map[string]int
	down  atomic.Bool
	takes time.Duration
	log   strings.Builder
}

func (o *origin) fetch(ctx context.Context, key string) (string, time.Duration, error) {
	if !lifecycle.Sleep(ctx, o.takes) {
		return "", 0, fmt.Errorf("fetch: %w", rpcerr.ErrUnavailable)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n[key]++
	if o.down.Load() {
		return "", 0, errDown
	}
	return fmt.Sprint(key, o.n[key]), 10 * time.Minute, nil
}

func (o *origin) asked(key string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n[key]
}

// keyed runs a test of a Keyed in a bubble.
func keyed(t *testing.T, maximum int, test func(t *testing.T, k *renew.Keyed[string], o *origin)) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{n: map[string]int{}, takes: time.Millisecond}
		k := renew.NewKeyed(renew.KeyedConfig[string]{Name: "value of", Fetch: o.fetch, Max: maximum, Logger: slog.New(slog.NewTextHandler(&o.log, nil))})
		if _, err := k.Get("a"); !errors.Is(err, rpcerr.ErrUnavailable) {
			t.Errorf("before it is open: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		k.Open(ctx)
		done := make(chan struct{})
		go func() { k.Loop(ctx); close(done) }()
		test(t, k, o)
		cancel()
		<-done
		if _, err := k.Get("a"); !errors.Is(err, lifecycle.ErrStopped) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestKeyedFetchesOncePerKey(t *testing.T) {
	keyed(t, 0, func(t *testing.T, k *renew.Keyed[string], o *origin) {
		var all sync.WaitGroup
		for n := range 100 {
			key := string("ab"[n%2])
			all.Go(func() {
				if v, err := k.Get(key); err != nil || v != key+"1" {
					t.Errorf("%s: %q %v", key, v, err)
				}
			})
		}
		all.Wait()
		if o.asked("a") != 1 || o.asked("b") != 1 {
			t.Errorf("asked %d and %d times", o.asked("a"), o.asked("b"))
		}
	})
}

// What is used never expires, what is not is asked for no more.
func TestKeyedKeepsWhatIsUsedFresh(t *testing.T) {
	keyed(t, 0, func(t *testing.T, k *renew.Keyed[string], o *origin) {
		if _, err := k.Get("unused"); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			begun := time.Now()
			if _, err := k.Get("used"); err != nil || time.Since(begun) > o.takes {
				t.Fatal(time.Since(begun), err)
			}
			time.Sleep(10 * time.Second)
		}
		if n := o.asked("used"); n < 1000*10/600 || n > 2*1000*10/600 {
			t.Errorf("fetched %d times in 10000 s", n)
		}
		if n := o.asked("unused"); n > 2 {
			t.Errorf("what nobody wants was fetched %d times", n)
		}
	})
}

func TestKeyedFailsAtOnceAndHeals(t *testing.T) {
	keyed(t, 0, func(t *testing.T, k *renew.Keyed[string], o *origin) {
		o.down.Store(true)
		if _, err := k.Get("a"); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		begun := time.Now()
		for range 1000 {
			if _, err := k.Get("a"); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
		}
		if n := o.asked("a"); n != 1 || time.Since(begun) > 0 {
			t.Errorf("%d fetches, %v", n, time.Since(begun))
		}
		o.down.Store(false)
		time.Sleep(11 * time.Second)
		if v, err := k.Get("a"); err != nil {
			t.Error(v, err)
		}
	})
}

func TestKeyedRenew(t *testing.T) {
	keyed(t, 0, func(t *testing.T, k *renew.Keyed[string], o *origin) {
		if _, err := k.Get("a"); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			k.Renew("a")
			k.Renew("unknown")
		}
		time.Sleep(6 * time.Second)
		k.RenewIf(func(v string) bool { return v == "a2" })
		time.Sleep(6 * time.Second)
		if v, err := k.Get("a"); v != "a3" || err != nil || o.asked("a") != 3 {
			t.Error(v, err, o.asked("a"))
		}
	})
}

func TestKeyedIsBounded(t *testing.T) {
	keyed(t, 10, func(t *testing.T, k *renew.Keyed[string], _ *origin) {
		for n := range 1000 {
			if _, err := k.Get(fmt.Sprint(n)); err != nil && !errors.Is(err, rpcerr.ErrLimited) {
				t.Fatal(err)
			}
		}
	})
}

// A server that does not answer costs a call the timeout, once.
func TestKeyedTimeout(t *testing.T) {
	keyed(t, 0, func(t *testing.T, k *renew.Keyed[string], o *origin) {
		o.takes = time.Hour
		begun := time.Now()
		if _, err := k.Get("a"); !errors.Is(err, rpcerr.ErrUnavailable) || time.Since(begun) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		synctest.Wait()
		begun = time.Now()
		if _, err := k.Get("a"); err == nil || time.Since(begun) > 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// While values are good Get says nothing of an origin that is away: the log does,
// once for all keys, and when it is back.
func TestKeyedTellsOfValuesThatAge(t *testing.T) {
	keyed(t, 0, func(t *testing.T, k *renew.Keyed[string], o *origin) {
		use := func(d time.Duration) {
			for range int(d / time.Second) {
				for n := range 50 {
					if _, err := k.Get(fmt.Sprint(n)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
			}
			synctest.Wait() // nobody writes to the log
		}
		use(10 * time.Second)
		for range 2 {
			o.log.Reset()
			o.down.Store(true)
			k.RenewIf(func(string) bool { return true })
			use(time.Minute)
			if log := o.log.String(); strings.Count(log, "cannot renew") != 1 || !strings.Contains(log, errDown.Error()) {
				t.Errorf("while it is away: %s", log)
			}
			o.down.Store(false)
			use(time.Minute)
			if log := o.log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "msg=\"renewed") {
				t.Errorf("when it is back: %s", log)
			}
		}
	})
}
