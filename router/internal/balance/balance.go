// Package balance chooses among the nodes of one service. It knows load,
// latency, failures, zones, weights and rules, and nothing else: no I/O, no
// clock of its own and no goroutine, so that a simulation drives it as the
// router does. The router feeds a Pool with nodes and outcomes and asks it for
// picks.
//
// Sources: M. Mitzenmacher, "The Power of Two Choices in Randomized Load
// Balancing", IEEE TPDS 12(10), 2001; the peak EWMA of Finagle's
// com.twitter.finagle.loadbalancer.PeakEwma; outlier detection and panic
// threshold as documented by Envoy; M. D. Vose, "A Linear Algorithm for
// Generating Random Numbers with a Given Distribution", IEEE TSE 17(9), 1991,
// for weights; J. D. C. Little, "A Proof for the Queuing Formula L = λW",
// Operations Research 9(3), 1961, for latencies nobody measured.
package balance

import (
	"errors"
	"math/rand/v2"
	"time"
)

// ErrNone is returned when no node may take the call.
var ErrNone = errors.New("no node may take this call")

// Strategy is how a node is chosen among those that may take a call.
type Strategy string

// The strategies.
const (
	// PeakEWMA takes the better of two random nodes: the one with the lower
	// latency × calls in flight, latency being an average that jumps to peaks at
	// once and decays slowly.
	PeakEWMA Strategy = "peak-ewma"
	// LeastConnections takes the node with the fewest calls and streams in
	// flight, of up to eight nodes exactly, of more by the best of three random
	// ones.
	LeastConnections Strategy = "least-connections"
	// RoundRobin takes one after the other.
	RoundRobin Strategy = "round-robin"
	// Random takes any.
	Random Strategy = "random"
)

// Config says how a Pool judges.
type Config struct {
	Strategy     Strategy
	Zone         string        // of the caller; empty: zones do not matter
	Decay        time.Duration // of latencies: after this long a peak is down to 37 %
	Consecutive  int           // failures in a row that eject a node
	BaseEjection time.Duration // of the first ejection; it doubles with each
	MaxEjection  time.Duration
	Rand         func() uint64 // default math/rand/v2
	// Now is a monotonic clock in nanoseconds that never says less than 2;
	// default the process's.
	Now func() int64
	// Extra makes what a Load carries for its user.
	Extra func() any
}

// Defaults of a Config.
const (
	DefaultDecay        = 10 * time.Second
	DefaultConsecutive  = 5
	DefaultBaseEjection = 2 * time.Second
	DefaultMaxEjection  = time.Minute
)

// Fill sets what is not set to the defaults.
func (c *Config) Fill() {
	if c.Strategy == "" {
		c.Strategy = PeakEWMA
	}
	if c.Decay == 0 {
		c.Decay = DefaultDecay
	}
	if c.Consecutive == 0 {
		c.Consecutive = DefaultConsecutive
	}
	if c.BaseEjection == 0 {
		c.BaseEjection = DefaultBaseEjection
	}
	if c.MaxEjection == 0 {
		c.MaxEjection = max(DefaultMaxEjection, c.BaseEjection)
	}
	if c.Rand == nil {
		c.Rand = rand.Uint64
	}
	if c.Now == nil {
		begin := time.Now()
		c.Now = func() int64 { return int64(time.Since(begin)) + 2 }
	}
}

// Outcome is what a call tells about the node that took it.
type Outcome uint8

// The outcomes.
const (
	OK        Outcome = iota // it answered, if only that the caller is wrong (4xx)
	Failed                   // it failed or did not answer in time
	Unreached                // it was not there: the call was never sent
	Refused                  // it said that it has too much to do (429)
	Void                     // nothing: the caller gave up
)
