package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/internal/rpctest"
)

// peakMemory is the most memory that a process had at once, in MB.
func peakMemory(t *testing.T, pid int) (mb int) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb int
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kb); n == 1 { // of other lines
			return kb >> 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// heap is what this process holds, in MB.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

// bulk publishes large records, so that whoever keeps them for a slow
// subscriber is seen to.
func bulk(t *testing.T, e event.Event, mb int) (ids map[string]bool) {
	t.Helper()
	ids = make(map[string]bool)
	for range mb {
		all := make([]*event.Record, 64)
		for i := range all {
			all[i] = &event.Record{Type: "bulk", Data: strings.Repeat("x", 16<<10)}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := e.PublishAll(ctx, all)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			ids[r.Id] = true
		}
	}
	return ids
}

// A subscriber that stands still holds up no other, misses nothing and costs no
// process memory.
func TestFaultEventSlowConsumer(t *testing.T) {
	// The test's own lists of ids count too, so the records are as many on any machine.
	still, size, small, most, own := 2*time.Second, 64, 5000, 110, 24
	if rpctest.Long() {
		still, size, small, most, own = time.Minute, 1024, 100_000, 200, 64
	}
	srv := startEventSrv(t)
	slow, e, gate := &collector{ids: make(map[string]int)}, openEvent(t, srv.consul), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	var lag uint64
	consume := func(opts ...event.ConsumeOption) (over chan error, stop context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		over = make(chan error, 1)
		go func() {
			over <- e.Consume(ctx, func(_ context.Context, d *event.Delivery) error {
				<-gate
				slow.mu.Lock()
				defer slow.mu.Unlock()
				lag = max(lag, d.Lag)
				slow.ids[d.Id]++
				slow.seqs = append(slow.seqs, d.Sequence)
				return nil
			}, append(opts, event.FromBeginning())...)
		}()
		return over, cancel
	}
	over, stop := consume()
	defer func() { open(); stop() }()
	fast := collect(t, openEvent(t, srv.consul))
	publisher := openEvent(t, srv.consul)
	l := startLoad(publisher, 8, time.Millisecond)
	l.atMost(small)
	before := heap()
	begin := time.Now()
	large := bulk(t, publisher, size)
	for time.Since(begin) < still {
		time.Sleep(still - time.Since(begin)) // the slow one stands still for that long
	}
	acked := l.end()
	for id := range large {
		acked[id] = true
	}
	arrive(t, "fast consumer", acked, fast) // while the slow one has handled nothing
	slow.mu.Lock()
	if len(slow.ids) > 0 {
		t.Errorf("the slow consumer handled %d", len(slow.ids))
	}
	slow.mu.Unlock()
	server, client := peakMemory(t, srv.Cmd.Process.Pid), heap()-before
	if server > most || client > own {
		t.Errorf("%d MB of records: the server took up to %d MB, this process %d MB more", size, server, client)
	}
	open()
	arrive(t, "slow consumer", acked, slow)
	slow.checkSequence(t)
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if e.Dropped() > 0 || lag*2 < uint64(len(acked)) {
		t.Errorf("%d dropped, highest lag %d of %d", e.Dropped(), lag, len(acked))
	}
	t.Logf("still for %v: %d records of %d MB, none lost, highest lag %d; the server took up to %d MB, this process %d MB more",
		time.Since(begin).Round(time.Second), len(acked), size, lag, server, client)
	rpctest.Eventually(t, "publishing is as it was", func() bool { return publisher.Publish(context.Background(), &event.Record{}) == nil })
}
