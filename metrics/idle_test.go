package metrics_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/go-platform/metrics"
)

// values returns the counters of an id by the value of their field user.
func values(s *metrics.Store, id string) map[string]int64 {
	found := make(map[string]int64)
	s.Collect(func(series *metrics.Series) {
		if v, ok := series.Value(); ok && series.ID == id {
			for _, t := range series.Tags {
				found[t.Value] = v
			}
		}
	})
	return found
}

// A burst of label values fills a metric for no longer than IdleTimeout.
func TestIdleSeriesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = time.Minute
		s := metrics.NewStore(metrics.StoreConfig{MaxSeries: 10, Idle: idle})
		user := func(name string) metrics.Counter { return s.Counter("calls").WithFields(metrics.Fields{"user": name}) }
		calm := s.Counter("calm").WithFields(metrics.Fields{"user": "once"})
		calm.Incr(1)
		busy, held := user("busy"), user("held")
		busy.Incr(1)
		held.Incr(5)
		for i := range 100 {
			user(fmt.Sprint("flood", i)).Incr(1)
		}
		if user("late").Incr(1); values(s, "calls")["late"] != 0 {
			t.Fatal("there was room")
		}
		var said bytes.Buffer
		s.ReportOverflow(slog.New(slog.NewTextHandler(&said, nil)))
		if !strings.Contains(said.String(), "MaxSeries of calls, whose field user has 10 values") {
			t.Errorf("said %s", said.String())
		}
		for range 8 {
			time.Sleep(idle / 4)
			busy.Incr(1)
			values(s, "calls")
		}
		user("late").Incr(7)
		held.Incr(2) // goes on
		got := values(s, "calls")
		if got["late"] != 7 || got["held"] != 7 || got["busy"] != 9 || len(got) != 4 { // and the overflow
			t.Errorf("after the flood: %v", got)
		}
		if values(s, "calm")["once"] != 1 {
			t.Error("a series of an id with room is gone")
		}
		for i := range 100 {
			user(fmt.Sprint("again", i)).Incr(1)
		}
		held.Incr(1)
		if got := values(s, "calls"); got["held"] != 8 || len(got) != 11 {
			t.Errorf("after another flood: %v", got)
		}
	})
}

// A held counter that was evicted while others took all places counts as overflow.
func TestASeriesWithoutAPlaceOverflows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := metrics.NewStore(metrics.StoreConfig{MaxSeries: 1, Idle: time.Minute})
		user := func(name string) metrics.Counter { return s.Counter("calls").WithFields(metrics.Fields{"user": name}) }
		held := user("held")
		held.Incr(1)
		user("full").Incr(1)
		for range 4 {
			time.Sleep(time.Minute)
			values(s, "calls")
		}
		user("next").Incr(1)
		held.Incr(3)
		if got := values(s, "calls"); got["next"] != 1 || got["held"] != 0 || got["true"] != 4 {
			t.Errorf("got %v", got)
		}
	})
}

// No update of a series gets lost while others come and go.
func TestSweepsLoseNoUpdate(t *testing.T) {
	s := metrics.NewStore(metrics.StoreConfig{MaxSeries: 4, Idle: time.Second})
	var wg sync.WaitGroup
	var updates, total atomic.Int64
	end := time.Now().Add(2500 * time.Millisecond) // a few sweeps
	for w := range 4 {
		wg.Go(func() {
			busy := s.Counter("calls").WithFields(metrics.Fields{"user": "busy"})
			for i := 0; time.Now().Before(end); i++ {
				busy.Incr(1)
				s.Counter("calls").WithFields(metrics.Fields{"user": fmt.Sprint(w, i/1000)}).Incr(1)
				updates.Add(2)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	take := func() {
		s.Collect(func(series *metrics.Series) {
			if v, ok := series.Take(); ok {
				total.Add(v)
			}
		})
	}
	for running := true; running; take() {
		select {
		case <-done:
			running = false
		default:
		}
	}
	if total.Load() != updates.Load() {
		t.Errorf("%d of %d updates were taken", total.Load(), updates.Load())
	}
}
