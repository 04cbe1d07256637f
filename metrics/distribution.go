package metrics

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// distribution holds the samples of a histogram in bounded memory: counts per
// bucket, or a sample of the samples.
type distribution struct {
	bounds  []int64
	buckets []atomic.Uint64 // nil: keep samples
	sum     atomic.Int64

	mu     sync.Mutex
	size   int // even
	kept   []int64
	weight uint64 // each kept one stands for so many, a power of two
	at     uint64 // position in the current block of weight samples
	pick   uint64 // position of the one to keep
}

func newDistribution(conf *StoreConfig) *distribution {
	if len(conf.Buckets) > 0 {
		return &distribution{bounds: conf.Buckets, buckets: make([]atomic.Uint64, len(conf.Buckets)+1)}
	}
	return &distribution{size: conf.Samples + conf.Samples%2, weight: 1}
}

// record keeps one sample at random of each block of weight samples. All that
// are kept stand for the same number, and their number times weight is off the
// true count by less than weight.
func (d *distribution) record(value int64) {
	if d.buckets != nil {
		d.sum.Add(value)
		i, _ := slices.BinarySearch(d.bounds, value)
		d.buckets[i].Add(1)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == 0 {
		d.begin()
	}
	if d.at == d.pick {
		d.keep(value)
	}
	if d.at++; d.at >= d.weight {
		d.at = 0
	}
}

// begin starts a block. When there is no room the weight doubles: of each two
// kept ones one goes, by chance. Only here, so that every block was of the
// weight its sample has.
func (d *distribution) begin() {
	if len(d.kept) == d.size {
		for i := range d.size / 2 {
			d.kept[i] = d.kept[2*i+rand.IntN(2)]
		}
		d.kept = d.kept[:d.size/2]
		d.weight *= 2
	}
	d.pick = 0
	if d.weight > 1 {
		d.pick = rand.Uint64N(d.weight)
	}
}

func (d *distribution) keep(value int64) {
	if cap(d.kept) == 0 {
		d.kept = make([]int64, 0, min(d.size, 16))
	}
	d.kept = append(d.kept, value)
}

func (d *distribution) read(buf []int64) ([]int64, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(buf, d.kept...), d.weight
}

func (d *distribution) take(buf []int64) ([]int64, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	buf, weight := append(buf, d.kept...), d.weight
	d.clear()
	return buf, weight
}

func (d *distribution) clear() {
	d.kept, d.weight, d.at, d.pick = d.kept[:0], 1, 0, 0
}

func (d *distribution) reset() {
	for i := range d.buckets {
		d.buckets[i].Store(0)
	}
	d.sum.Store(0)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
}

func (d *distribution) pending() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kept) > 0
}

func (d *distribution) counts() (bounds []int64, counts []uint64, count uint64, sum int64) {
	counts = make([]uint64, len(d.buckets))
	for i := range d.buckets {
		counts[i] = d.buckets[i].Load()
		count += counts[i]
	}
	return d.bounds, counts, count, d.sum.Load()
}
