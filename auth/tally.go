package auth

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/clean"
)

// tally counts what was decided until go.micro.srv.auth was told.
type tally struct {
	// epoch is another one after each report: what is decided then is counted
	// anew, so that each kind of call is reported once in an interval at least.
	epoch   atomic.Uint64
	dropped atomic.Int64

	mu       sync.Mutex
	pending  map[tallied]*counted
	order    []tallied      // of pending, the oldest first
	accounts map[string]int // of pending
}

// tallied is a kind of decisions.
type tallied struct {
	account, roles, scopes, service, method, rule string
	allowed                                       bool
}

type counted struct {
	count atomic.Int64
	first time.Time // guarded by the tally's mu
}

// Bounds of a tally.
const (
	maxTallied        = 1024
	maxTalliedAccount = 128     // as auth-srv keeps
	maxTold           = 256     // kinds in one report
	maxToldBytes      = 8 << 10 // about
)

// sample is how many allowed calls of a kind stand for one that is counted, after
// the first of an interval: to count all would have processors that serve the
// same caller wait for each other. Denied ones are counted all.
const sample = 64

func newTally() *tally { return &tally{pending: map[tallied]*counted{}, accounts: map[string]int{}} }

// again counts one more of a kind.
func (t *tally) again(c *counted, allowed bool) {
	n := int64(1)
	if allowed {
		if rand.Uint32()%sample != 0 { //nolint:gosec // a sample
			return
		}
		n = sample
	}
	if c == nil {
		t.dropped.Add(n)
		return
	}
	c.count.Add(n)
}

// first counts the first of a kind in an interval and returns where to count
// more, nil if there is no room.
func (t *tally) first(c *policy.Call, d policy.Decision) *counted {
	key := tallied{c.Account, strings.Join(c.Roles, " "), strings.Join(c.Scopes, " "), c.Service, c.Method, d.Rule, d.Allowed}
	t.mu.Lock()
	defer t.mu.Unlock()
	is := t.pending[key]
	if is == nil {
		if len(t.pending) >= maxTallied || t.accounts[c.Account] >= maxTalliedAccount ||
			!clean.Name(c.Method, policy.MaxName) || !clean.Name(c.Service, policy.MaxName) {
			t.dropped.Add(1)
			return nil
		}
		// They may be parts of a message that is not ours to keep.
		key.service, key.method = strings.Clone(key.service), strings.Clone(key.method)
		is = &counted{first: time.Now()}
		t.pending[key] = is
		t.order = append(t.order, key)
		t.accounts[c.Account]++
	}
	is.count.Add(1)
	return is
}

// report returns what to tell now, nil if there is nothing, and what must be
// called with whether it was told. What was not is told later.
func (t *tally) report() (*pb.PolicyReportRequest, func(told bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch.Add(1)
	req, size, n := &pb.PolicyReportRequest{Dropped: t.dropped.Swap(0)}, 0, 0
	now := time.Now()
	for ; n < len(t.order) && n < maxTold && size < maxToldBytes; n++ {
		key := t.order[n]
		d := t.pending[key].decided(key, now)
		size += 40 + len(key.account) + len(key.roles) + len(key.scopes) + len(key.service) + len(key.method) + len(key.rule)
		req.Decisions = append(req.Decisions, d)
	}
	told := t.order[:n:n]
	t.order = t.order[n:]
	if len(told) == 0 && req.Dropped == 0 {
		return nil, func(bool) {}
	}
	return req, func(ok bool) { t.settle(req, told, ok) }
}

// decided takes the count for a report.
func (c *counted) decided(key tallied, now time.Time) *pb.Decided {
	d := &pb.Decided{
		Call: &pb.Call{
			Account: key.account, Roles: strings.Fields(key.roles), Scopes: strings.Fields(key.scopes), Service: key.service, Method: key.method,
		},
		Allowed: key.allowed, Rule: key.rule, Count: c.count.Swap(0), First: c.first.Unix(), Last: c.first.Unix(),
	}
	if d.Count > 1 {
		d.Last = now.Unix()
	}
	return d
}

// settle forgets what was told, and has the rest told later.
func (t *tally) settle(req *pb.PolicyReportRequest, told []tallied, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok {
		t.dropped.Add(req.Dropped)
	}
	for i, key := range told {
		is := t.pending[key]
		if !ok {
			is.count.Add(req.Decisions[i].Count)
		}
		if is.count.Load() > 0 { // not told, or decided again meanwhile
			if ok {
				is.first = time.Now()
			}
			t.order = append(t.order, key)
			continue
		}
		delete(t.pending, key)
		if t.accounts[key.account]--; t.accounts[key.account] <= 0 {
			delete(t.accounts, key.account)
		}
	}
}

// outcomes is what became of the calls of one token, by the rules of one
// generation and in one epoch. It never changes.
type outcomes struct {
	generation, epoch uint64
	list              []outcome
}

type outcome struct {
	service, method string
	policy.Decision
	counted *counted
}

// maxOutcomes bounds what is remembered of one token. Other methods are decided
// each time, and counted by a sample.
const maxOutcomes = 32

// find returns the outcome of a call, if it is known.
func (o *outcomes) find(generation, epoch uint64, service, method string) *outcome {
	if o == nil || o.generation != generation || o.epoch != epoch {
		return nil
	}
	for i := range o.list {
		if is := &o.list[i]; is.method == method && is.service == service {
			return is
		}
	}
	return nil
}

// decide returns the decision on a call of good, from memory if it was decided
// already.
func (v *verifier) decide(s *state, good *verified, req Request) policy.Decision {
	service, method := req.Service(), req.Method()
	epoch := v.tally.epoch.Load()
	known := good.outcomes.Load()
	if is := known.find(s.generation, epoch, service, method); is != nil {
		v.tally.again(is.counted, is.Allowed)
		return is.Decision
	}
	call := good.call
	call.Service, call.Method = service, method
	d := s.rules.Decide(&call)
	if service != v.service && !slices.Contains(s.services, service) {
		return d // a question about others, on whom no reports are taken from us
	}
	made := &outcomes{generation: s.generation, epoch: epoch}
	if known != nil && known.generation == made.generation && known.epoch == epoch {
		made.list = known.list
	}
	if len(made.list) >= maxOutcomes {
		v.overflow(&call, d)
		return d
	}
	is := outcome{service: strings.Clone(service), method: strings.Clone(method), Decision: d, counted: v.tally.first(&call, d)}
	made.list = append(made.list[:len(made.list):len(made.list)], is)
	good.outcomes.CompareAndSwap(known, made) // another one may have been faster: this call is decided once more
	return d
}

// overflow counts a call that is not remembered.
func (v *verifier) overflow(c *policy.Call, d policy.Decision) {
	if rand.Uint32()%sample != 0 { //nolint:gosec // a sample
		return
	}
	if is := v.tally.first(c, d); is != nil {
		is.count.Add(sample - 1)
	} else {
		v.tally.dropped.Add(sample - 1)
	}
}
