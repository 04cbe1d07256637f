package router

import (
	"time"

	pb "github.com/micro/go-platform/router/proto"
)

// Budget is a retry budget of its own.
type Budget struct{ b budget }

func NewBudget(ratio float64, burst int) *Budget {
	b := &Budget{}
	b.b.init(ratio, burst)
	return b
}

func (b *Budget) Deposit()       { b.b.deposit() }
func (b *Budget) Withdraw() bool { return b.b.withdraw() }

// Limits are those of one service.
type Limits struct{ l limits }

func NewLimits() *Limits { return &Limits{} }

func (l *Limits) Share(s *pb.Share) { l.l.share(s) }

// Admit returns the end of a call, or nil.
func (l *Limits) Admit(now time.Duration) func(now time.Duration) {
	got, ok := l.l.admit(int64(now))
	if !ok {
		return nil
	}
	return func(now time.Duration) { got.release(int64(now), true) }
}

// Typical returns the mean latency of a service's nodes, which is what retries
// go by.
func Typical(r Router, service string) time.Duration {
	return r.(*platform).find(service).pool.Typical()
}

// Measure returns what is reported of these durations.
func Measure(all ...time.Duration) *pb.Metrics {
	h := &histogram{}
	for _, d := range all {
		h.add(d)
	}
	c := h.now()
	return c.wire()
}

// Dialled reports whether an error is about a connection to the address.
func Dialled(text, address string) bool { return dialled(text, address) }

// LabelsIn returns the labels of metadata, by name.
func LabelsIn(md map[string]string, accept []string) (map[string]string, error) {
	labels, err := labelsIn(md, accept)
	found := map[string]string{}
	for _, l := range labels {
		found[l.Key] = l.Value
	}
	return found, err
}
