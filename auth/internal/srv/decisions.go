package srv

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/clean"
)

// Bounds of what services report. A name costs its owner nothing to make up, so
// the bounds are of the account that reports.
const (
	maxDecisions = 20_000
	maxReporter  = 4_096 // of one account that reports
	maxCaller    = 128   // on the calls of one account at one service
	maxReport    = 256   // in one report
)

// How long after they were last seen calls that were allowed and denied are kept.
const (
	keepAllowed = time.Hour
	keepDenied  = 24 * time.Hour
)

// decisions are those that services reported, of calls that are alike together.
type decisions struct {
	mu        sync.Mutex
	kept      map[decidedKey]*decided
	reporters map[string]int
	callers   map[[2]string]int // by account and service
	swept     time.Time
	dropped   *recent[struct{}]

	dirty  map[string]bool             // reporters to save
	others map[[2]string][]*pb.Decided // of other instances, by instance and reporter
}

type decidedKey struct {
	service, method, account, roles, scopes, rule string
	allowed                                       bool
}

type decided struct {
	call               *pb.Call
	reporter           string
	count, first, last int64
}

func newDecisions() *decisions {
	return &decisions{
		kept: map[decidedKey]*decided{}, reporters: map[string]int{}, callers: map[[2]string]int{},
		dirty: map[string]bool{}, others: map[[2]string][]*pb.Decided{},
		dropped: newRecent[struct{}](keepAllowed, 2),
	}
}

// add takes over what an account reported. Its clock is not ours: a decision was
// made within the last hour.
func (d *decisions) add(reporter string, reported []*pb.Decided, dropped int64, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if surplus := len(reported) - maxReport; surplus > 0 {
		reported, dropped = reported[:maxReport], dropped+int64(surplus)
	}
	for _, r := range reported {
		if !d.put(reporter, r, now) {
			dropped++
		}
	}
	if dropped > 0 {
		d.dropped.add(struct{}{}, int(min(dropped, 1<<32)), now)
	}
}

// deny notes a call that this service refused itself.
func (d *decisions) deny(c *claims, method string, now time.Time) {
	call := &pb.Call{Account: c.Subject, Roles: c.Roles, Scopes: c.scopes(), Service: auth.ServiceName, Method: method}
	d.add(auth.ServiceName, []*pb.Decided{{Call: call, Count: 1, First: now.Unix(), Last: now.Unix()}}, 0, now)
}

func (d *decisions) put(reporter string, r *pb.Decided, now time.Time) bool {
	c := r.GetCall()
	if !isCall(c) || r.Rule != "" && !clean.Name(r.Rule, policy.MaxName/2) {
		return false
	}
	key := keyOf(r)
	last := min(max(r.Last, now.Add(-keepAllowed).Unix()), now.Unix())
	first := min(max(r.First, now.Add(-keepAllowed).Unix()), last)
	is := d.kept[key]
	if is == nil {
		if !d.room(reporter, c, now) {
			return false
		}
		is = &decided{call: c, reporter: reporter, first: first}
		d.kept[key] = is
		d.reporters[reporter]++
		d.callers[[2]string{c.Account, c.Service}]++
	}
	d.dirty[reporter] = true
	is.count += min(max(r.Count, 1), 1<<32)
	is.first, is.last = min(is.first, first), max(is.last, last)
	return true
}

// isCall reports whether what was reported can be one of the calls of an account.
func isCall(c *pb.Call) bool {
	if !clean.Name(c.GetAccount(), policy.MaxName/2) || !clean.Name(c.GetService(), policy.MaxName) || !clean.Name(c.GetMethod(), policy.MaxName) {
		return false
	}
	return isNames(c.Roles) && isNames(c.Scopes)
}

func isNames(names []string) bool {
	size := 0
	for _, n := range names {
		size += len(n)
		if !clean.Name(n, policy.MaxName) || strings.Contains(n, " ") {
			return false
		}
	}
	return size <= 2<<10
}

// room reports whether one more can be kept.
func (d *decisions) room(reporter string, c *pb.Call, now time.Time) bool {
	full := func() bool {
		return len(d.kept) >= maxDecisions || d.reporters[reporter] >= maxReporter || d.callers[[2]string{c.Account, c.Service}] >= maxCaller
	}
	if full() {
		d.sweep(now)
	}
	return !full()
}

// sweepInterval bounds how often a full memory is looked through.
const sweepInterval = 5 * time.Second

// sweep forgets what is too old.
func (d *decisions) sweep(now time.Time) {
	if now.Sub(d.swept) < sweepInterval {
		return
	}
	d.swept = now
	for key, is := range d.kept {
		if !isOld(is.last, key.allowed, now) {
			continue
		}
		delete(d.kept, key)
		forget(d.reporters, is.reporter)
		forget(d.callers, [2]string{key.account, key.service})
	}
}

func forget[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// isOld reports whether a decision, last seen then, is kept no longer.
func isOld(last int64, allowed bool, now time.Time) bool {
	keep := keepDenied
	if allowed {
		keep = keepAllowed
	}
	return last < now.Add(-keep).Unix()
}

// lost returns how many decisions of the last hour or two were not kept.
func (d *decisions) lost(now time.Time) int64 { return int64(d.dropped.add(struct{}{}, 0, now)) }

// denials returns what was denied, the latest first. An empty account or service
// is any.
func (d *decisions) denials(account, service string, now time.Time) []*pb.Decided {
	found := d.list(now, func(key decidedKey, _ *pb.Call) bool {
		return !key.allowed && (account == "" || key.account == account) && (service == "" || key.service == service)
	})
	slices.SortFunc(found, func(a, b *pb.Decided) int {
		return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(b.First, a.First), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Call.Account, b.Call.Account), cmp.Compare(a.Call.Method, b.Call.Method))
	})
	return found
}

// allowed returns those of the calls that were allowed within the last hour that
// ok takes.
func (d *decisions) allowed(now time.Time, ok func(*pb.Call) bool) []*pb.Decided {
	return d.list(now, func(key decidedKey, c *pb.Call) bool { return key.allowed && ok(c) })
}

// list returns the decisions, of all instances, that ok takes and that are kept.
func (d *decisions) list(now time.Time, ok func(decidedKey, *pb.Call) bool) []*pb.Decided {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[decidedKey]*pb.Decided{}
	for key, is := range d.kept {
		if !isOld(is.last, key.allowed, now) && ok(key, is.call) {
			all[key] = is.wire(key)
		}
	}
	for _, saved := range d.others {
		for _, o := range saved {
			key := keyOf(o)
			if isOld(o.Last, o.Allowed, now) || !ok(key, o.Call) {
				continue
			}
			sum := proto.CloneOf(o)
			if is := all[key]; is != nil {
				sum.Count, sum.First, sum.Last = sum.Count+is.Count, min(sum.First, is.First), max(sum.Last, is.Last)
			}
			all[key] = sum
		}
	}
	return slices.Collect(maps.Values(all))
}

func (is *decided) wire(key decidedKey) *pb.Decided {
	return &pb.Decided{Call: is.call, Allowed: key.allowed, Rule: key.rule, Count: is.count, First: is.first, Last: is.last}
}

func keyOf(d *pb.Decided) decidedKey {
	c := d.Call
	return decidedKey{c.GetService(), c.GetMethod(), c.GetAccount(), strings.Join(c.GetRoles(), " "), strings.Join(c.GetScopes(), " "), d.Rule, d.Allowed}
}
