package monitor

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/call"
	pb "github.com/micro/go-platform/monitor/proto"
)

// Overflow is the method of the endpoint that takes what MaxEndpoints leaves
// out, names longer than 256 bytes among them.
const Overflow = "other"

// forgotten is after how many windows without a call an endpoint makes room.
const forgotten = 10

// collector is the Stats of every monitor. Recording reads a table that is
// replaced, never changed; collecting takes each series' histograms.
type collector struct {
	limit    int
	table    atomic.Pointer[map[endpointKey]*series]
	overflow *series

	mu sync.Mutex // of those who replace the table

	// Owned by collect.
	spares []*hdr.Histogram
	begun  time.Time
}

func newCollector(limit int) *collector {
	c := &collector{limit: limit, overflow: &series{key: endpointKey{method: Overflow}}, begun: time.Now()}
	c.table.Store(&map[endpointKey]*series{})
	return c
}

// RecordStat implements Stats.
func (c *collector) RecordStat(r Request, d time.Duration, err error) {
	key, result := keyOf(r), call.Success
	if err != nil {
		result = call.Of(err)
	}
	for range 2 {
		s := (*c.table.Load())[key]
		if s == nil {
			s = c.add(key)
		}
		if s.record(result, d) {
			return
		}
	}
	c.overflow.record(result, d) // retired twice: it is never
}

// keyOf tells on which side of the call the caller stands.
func keyOf(r Request) endpointKey {
	switch r := r.(type) {
	case nil:
		return endpointKey{method: Overflow}
	case client.Request:
		return endpointKey{pb.Endpoint_CLIENT, r.Service(), r.Method()}
	case server.Request:
		// On the rpc stack Service is what the caller claims.
		return endpointKey{pb.Endpoint_SERVER, "", r.Method()}
	case topic:
		return endpointKey{r.side, "", r.name}
	}
	return endpointKey{service: r.Service(), method: r.Method()}
}

// add returns the series of a key that the table lacks, the overflow when there
// is no room.
func (c *collector) add(key endpointKey) *series {
	if len(key.service) > 256 || len(key.method) > 256 {
		return c.overflow
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.table.Load()
	if s := old[key]; s != nil {
		return s
	}
	if len(old) >= c.limit {
		return c.overflow
	}
	s := &series{key: key}
	fresh := make(map[endpointKey]*series, len(old)+1)
	maps.Copy(fresh, old)
	fresh[key] = s
	c.table.Store(&fresh)
	return s
}

// collect ends the window and returns its endpoints and its length. Only one
// goroutine may call it at a time.
func (c *collector) collect(own string) ([]*pb.Endpoint, time.Duration) {
	now := time.Now()
	window := now.Sub(c.begun)
	c.begun = now
	var endpoints []*pb.Endpoint
	var idle []*series
	for _, s := range *c.table.Load() {
		if e := c.sum(s, own); e != nil {
			endpoints, s.idle = append(endpoints, e), 0
		} else if s.idle++; s.idle >= forgotten {
			idle = append(idle, s)
		}
	}
	if e := c.sum(c.overflow, own); e != nil {
		endpoints = append(endpoints, e)
	}
	c.forget(idle)
	return endpoints, window
}

// forget takes idle series out of the table.
func (c *collector) forget(idle []*series) {
	if len(idle) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := maps.Clone(*c.table.Load())
	for _, s := range idle {
		if s.retire() {
			delete(fresh, s.key)
		}
	}
	c.table.Store(&fresh)
}

// sum returns the endpoint's window, nil when nothing was recorded.
func (c *collector) sum(s *series, own string) *pb.Endpoint {
	var sums [3]*pb.Metrics
	for result := range sums {
		sums[result] = c.total(s, result)
	}
	if sums == ([3]*pb.Metrics{}) {
		return nil
	}
	e := s.key.endpoint(own)
	e.Success, e.Errors, e.Dropped = sums[call.Success], sums[call.Failure], sums[call.Dropped]
	return e
}

// total sums the shards' histograms of one result up and empties them.
func (c *collector) total(s *series, result int) *pb.Metrics {
	var total *hdr.Histogram
	for i := range s.shards {
		spare := c.spare()
		taken := s.shards[i].take(result, spare)
		switch {
		case taken == nil:
			c.recycle(spare)
		case total == nil:
			total = taken
		default:
			total.Merge(taken)
			taken.Reset()
			c.recycle(taken)
		}
	}
	if total == nil {
		return nil
	}
	m := metrics(total)
	total.Reset()
	c.recycle(total)
	return m
}

func (c *collector) spare() *hdr.Histogram {
	if n := len(c.spares); n > 0 {
		h := c.spares[n-1]
		c.spares = c.spares[:n-1]
		return h
	}
	return newHistogram()
}

func (c *collector) recycle(h *hdr.Histogram) { c.spares = append(c.spares, h) }
