package router

import (
	"math"
	"sync/atomic"
)

// budget bounds the retries of a service by its calls, as Finagle's RetryBudget
// does: each call brings a part of a retry, each retry takes a whole one. What
// is there at the start is lent and paid back by the first calls, so that the
// retries ever made are at most the ratio of the calls ever made, or the burst
// while those are few.
type budget struct {
	ratio  atomic.Int64 // thousandths of a retry per call
	tokens atomic.Int64 // thousandths of a retry
	debt   atomic.Int64
	most   int64
}

const retryToken = 1000

func (b *budget) init(ratio float64, burst int) {
	b.setRatio(ratio)
	b.most = int64(burst) * retryToken
	b.tokens.Store(b.most)
	b.debt.Store(b.most)
}

func (b *budget) setRatio(ratio float64) { b.ratio.Store(int64(math.Round(ratio * retryToken))) }

// deposit counts a call.
func (b *budget) deposit() {
	part := b.ratio.Load()
	if part == 0 {
		return
	}
	if b.debt.Load() > 0 {
		b.debt.Add(-part)
		return
	}
	if b.tokens.Load() < b.most { // else nothing to write for
		b.tokens.Add(part)
	}
}

// withdraw reports whether there may be one more retry.
func (b *budget) withdraw() bool {
	for {
		n := b.tokens.Load()
		if n < retryToken || b.ratio.Load() == 0 {
			return false
		}
		if b.tokens.CompareAndSwap(n, n-retryToken) {
			return true
		}
	}
}
