package monitor

import (
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/clean"
	pb "github.com/micro/go-platform/monitor/proto"
)

// What the histograms tell apart: durations from half a microsecond to five
// minutes with an error of one percent; longer ones count as five minutes.
const (
	maxDuration = 5 * time.Minute
	resolution  = time.Microsecond
	digits      = 2
)

// shards bounds the goroutines that record to one endpoint without waiting for
// each other.
const shards = 4

// endpointKey tells endpoints apart. The service of the monitor itself is "".
type endpointKey struct {
	side            pb.Endpoint_Side
	service, method string
}

// series measures one endpoint. A recorder takes the first shard that is free,
// so that only an endpoint under contention pays for more than one.
type series struct {
	key    endpointKey
	idle   int // windows without a call, owned by the collector
	shards [shards]shard
}

type shard struct {
	mu      sync.Mutex
	retired bool              // the series is no longer collected
	hist    [3]*hdr.Histogram // by call.Result, made at the first use
	_       [16]byte          // pad to a cache line of 64 bytes
}

func newHistogram() *hdr.Histogram {
	return hdr.New(int64(resolution), int64(maxDuration), digits)
}

// record returns false when the series was retired meanwhile.
func (s *series) record(result call.Result, d time.Duration) bool {
	v := int64(min(max(d, 0), maxDuration))
	for i := range s.shards {
		if sh := &s.shards[i]; sh.mu.TryLock() {
			ok := sh.record(result, v)
			sh.mu.Unlock()
			return ok
		}
	}
	sh := &s.shards[0]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.record(result, v)
}

func (sh *shard) record(result call.Result, v int64) bool {
	if sh.retired {
		return false
	}
	h := sh.hist[result]
	if h == nil {
		h = newHistogram()
		sh.hist[result] = h
	}
	_ = h.RecordValue(v) // only for values out of range, which v cannot be
	return true
}

// take returns what was recorded since the last take, nil when nothing was. It
// exchanges the histogram for an empty spare: a recorder waits for no copying.
func (sh *shard) take(result int, spare *hdr.Histogram) (taken *hdr.Histogram) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hist[result]
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	sh.hist[result] = spare
	return h
}

// retire makes further records fail unless there are records to be taken.
func (s *series) retire() bool {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		defer s.shards[i].mu.Unlock()
	}
	for i := range s.shards {
		for _, h := range s.shards[i].hist {
			if h != nil && h.TotalCount() > 0 {
				return false
			}
		}
	}
	for i := range s.shards {
		s.shards[i].retired = true
	}
	return true
}

// metrics sums a histogram up in milliseconds.
func metrics(h *hdr.Histogram) *pb.Metrics {
	ms := func(ns float64) float64 { return ns / float64(time.Millisecond) }
	return &pb.Metrics{
		Count:   h.TotalCount(),
		Mean:    ms(h.Mean()),
		StdDev:  ms(h.StdDev()),
		P50:     ms(float64(h.ValueAtQuantile(50))),
		Upper95: ms(float64(h.ValueAtQuantile(95))),
		P99:     ms(float64(h.ValueAtQuantile(99))),
		Max:     ms(float64(h.Max())),
	}
}

// endpoint returns the series' name as it is reported by the service own.
func (k endpointKey) endpoint(own string) *pb.Endpoint {
	e := &pb.Endpoint{Side: k.side, Service: clean.Text(k.service, 256), Method: clean.Text(k.method, 256)}
	if k.side == pb.Endpoint_SERVER {
		e.Service = own
	}
	return e
}
