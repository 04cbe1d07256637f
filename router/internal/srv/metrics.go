package srv

import (
	"math"
	"math/bits"

	pb "github.com/micro/go-platform/router/proto"
)

// maxBuckets bounds the buckets of one Metrics; the last one holds all longer
// durations, from 67 minutes on.
const maxBuckets = 128

// moments are count, sum and sum of squares of durations in milliseconds: what
// can be added up without loss.
type moments struct {
	count       int64
	sum, square float64
}

func momentsOf(m *pb.Metrics) moments {
	n := float64(m.GetCount())
	return moments{m.GetCount(), n * m.GetMean(), n * (m.GetMean()*m.GetMean() + m.GetStdDev()*m.GetStdDev())}
}

func (m *moments) add(o moments) {
	m.count += o.count
	m.sum += o.sum
	m.square += o.square
}

func (m moments) mean() float64 {
	if m.count == 0 {
		return 0
	}
	return m.sum / float64(m.count)
}

// wire returns nil when there is nothing to tell.
func (m moments) wire() *pb.Metrics {
	if m.count == 0 {
		return nil
	}
	mean := m.mean()
	return &pb.Metrics{Count: m.count, Mean: mean, StdDev: math.Sqrt(max(m.square/float64(m.count)-mean*mean, 0))}
}

// outcomes are the calls by how they ended.
type outcomes struct{ success, dropped, errors moments }

func (o *outcomes) add(p *outcomes) {
	o.success.add(p.success)
	o.dropped.add(p.dropped)
	o.errors.add(p.errors)
}

func (o outcomes) failed() int64 { return o.dropped.count + o.errors.count }
func (o outcomes) calls() int64  { return o.success.count + o.failed() }
func (o outcomes) busy() float64 { return o.success.sum + o.dropped.sum + o.errors.sum }

// distribution is moments with the buckets that percentiles come from.
type distribution struct {
	moments
	max     float64
	buckets []int64
}

func (d *distribution) reset() {
	clear(d.buckets)
	d.moments, d.max, d.buckets = moments{}, 0, d.buckets[:0]
}

func (d *distribution) reach(n int) {
	for len(d.buckets) < n {
		d.buckets = append(d.buckets, 0)
	}
}

// report adds what was measured. Calls that no bucket tells of count at their
// mean.
func (d *distribution) report(m *pb.Metrics) {
	if m.GetCount() == 0 {
		return
	}
	d.moments.add(momentsOf(m))
	d.max = max(d.max, m.Max, m.Mean)
	rest := m.Count
	d.reach(len(m.Buckets))
	for i, n := range m.Buckets {
		d.buckets[i] += min(int64(n), rest)
		rest -= min(int64(n), rest)
	}
	if rest > 0 {
		i := bucket(m.Mean)
		d.reach(i + 1)
		d.buckets[i] += rest
	}
}

func (d *distribution) merge(o *distribution) {
	d.moments.add(o.moments)
	d.max = max(d.max, o.max)
	d.reach(len(o.buckets))
	for i, n := range o.buckets {
		d.buckets[i] += n
	}
}

func (d *distribution) wire() *pb.Metrics {
	m := d.moments.wire()
	if m == nil {
		return nil
	}
	m.Max = d.max
	m.P50, m.Upper95, m.P99 = d.quantile(0.50), d.quantile(0.95), d.quantile(0.99)
	m.Buckets = make([]uint32, len(d.buckets))
	for i, n := range d.buckets {
		m.Buckets[i] = uint32(min(n, math.MaxUint32))
	}
	return m
}

// quantile returns the middle of the bucket that holds the q-th part, at most
// the longest duration: within 13 %.
func (d *distribution) quantile(q float64) float64 {
	rank := int64(math.Ceil(q * float64(d.count)))
	for i, n := range d.buckets {
		if rank -= n; rank <= 0 {
			low, high := bounds(i)
			return min((low+high)/2, d.max)
		}
	}
	return d.max
}

// bucket is where a duration in milliseconds belongs; see Metrics in the proto.
func bucket(ms float64) int {
	us := uint64(min(ms*1e3, 1<<40))
	if us < 4 {
		return int(us)
	}
	e := bits.Len64(us) - 3
	return min(4*e+int(us>>e), maxBuckets-1)
}

// bounds are the ends of a bucket in milliseconds.
func bounds(i int) (low, high float64) {
	if i < 4 {
		return float64(i) / 1e3, float64(i+1) / 1e3
	}
	e := i/4 - 1
	first := float64(i%4+4) * float64(uint64(1)<<e)
	return first / 1e3, (first + float64(uint64(1)<<e)) / 1e3
}
