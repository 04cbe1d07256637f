package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	monitorpb "github.com/micro/go-platform/monitor/proto"
)

// victim is the gateway that is killed. Its farewell is not waited for.
const victim = "gateway-2"

// closing bounds each wait at the end, on a machine that has other things to do.
const closing = 30 * time.Second

// verdict prints promises and remembers whether one was broken.
type verdict struct {
	*report
	broken bool
}

// promise states one. What a run was too short for is neither kept nor broken.
func (v *verdict) promise(tried, kept bool, format string, args ...any) {
	mark := "kept   "
	switch {
	case !tried:
		mark = "untried"
	case !kept:
		mark, v.broken = "BROKEN ", true
	}
	v.printf("  %s  %s\n", mark, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// quick tells whether the machine was: where a node of one millisecond takes
// more than twenty there is no slow one to tell from it, and not all that is
// flushed at the end gets through in the two seconds that it has.
func (r *report) quick() bool { return r.slowest > 0 && r.slowest < 20 }

// end closes the shop, checks the promises and returns the exit code.
func (r *report) end(lasted time.Duration) int {
	v := &verdict{report: r}
	r.printf("\nthe shop closes\n")
	if r.reports == 1 { // whoever was killed comes back
		r.play()
	}
	r.shift.wait()
	r.customers.leave()
	customers, nodes, orders := r.customers, append([]*node{r.customers.node}, r.nodes...), r.storedOrders()
	missing := r.notifier.missing(orders)
	settled, of, equal := r.settled()
	sessions, lost, unread := customers.sessions.lost(r.ring())

	stopped := r.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := r.waterfall(ctx); err != nil {
		r.printf("  no trace: %v\n", err)
	}
	v.sales(lasted)
	acted := r.reports > 0
	v.promise(acted, r.told == nil && customers.full.Load() > 0 && customers.reduced.Load() > 0,
		"a change of configuration reaches the shop while it sells (%d at full price, %d reduced) %s", customers.full.Load(), customers.reduced.Load(), text(r.told))
	v.promise(acted, len(orders) > 0 && missing == 0,
		"of every order that was stored the notifier was told, though it was killed (%d orders, %d missing)", len(orders), missing)
	v.promise(acted, sessions > 0 && lost == 0 && unread == nil && customers.sessions.wrong.Load() == 0,
		"sessions survive a killed gateway: of %d acknowledged %d are lost, %d answers were wrong %s", sessions, lost, customers.sessions.wrong.Load(), text(unread))
	refused, story := r.shift.refused()
	v.promise(acted, refused, "a paused leader's late write is refused (%s)", story)
	v.promise(acted, settled > 0 && equal, "each order is settled once, whoever leads (%d of %d)", settled, of)
	v.telemetry(ctx, nodes)
	v.promise(true, stopped == nil, "every service ends cleanly %s", text(stopped))
	ended := r.stopDaemons()
	v.promise(true, ended == nil, "the platform's services end cleanly %s", text(ended))
	if v.broken {
		return 1
	}
	return 0
}

// sales are the promises about the calls.
func (v *verdict) sales(lasted time.Duration) {
	c := v.customers
	bought, failed := c.bought.Load(), c.failed.Load()
	v.printf("\nafter %.0f s: %d bought, %d refused as promised, %d failed\n", lasted.Seconds(), bought, c.refused.Load(), failed)
	if f := c.failure.Load(); f != nil {
		v.printf("  first failure: %v\n", *f)
	}
	served, all := make([]int64, len(v.stocks)), int64(0)
	for i, h := range v.stocks {
		served[i] = h.calls.Load()
		all += served[i]
	}
	enough := all >= 300
	v.promise(enough, bought > 0 && failed-v.cutOff <= max(3, bought/100),
		"hardly a call fails, though stock-3 fails four times in five and %s is killed (%d of %d)", victim, failed, bought+failed)
	v.promise(true, v.refused, "an unknown caller, and one whom no rule allows it, are refused")
	v.promise(enough && v.quick(), served[1] < served[0]/2 && served[2] < served[0]/2,
		"the slow and the failing node get less than half of a good one's calls (%d, %d, %d)", served[1], served[2], served[0])
	canary := 100 * float64(served[3]) / float64(max(all, 1))
	v.promise(enough, canary > 3 && canary < 20, "the canary gets about %d %% (%.1f)", canaryPercent, canary)
}

// telemetry are the promises about what is known of the nodes.
func (v *verdict) telemetry(ctx context.Context, nodes []*node) {
	var dropped uint64
	for _, n := range nodes {
		dropped += n.dropped()
	}
	silent, err := v.silent(ctx, nodes)
	v.promise(true, v.whole > 0, "a trace of all services is read back from trace-srv as one tree (%d were)", v.whole)
	v.promise(v.quick() || dropped == 0, dropped == 0, "no telemetry is dropped (%d was)", dropped)
	v.promise(true, err == nil && len(silent) == 0, "every node that was not killed reported STOPPED to monitor-srv %s %s", strings.Join(silent, ", "), text(err))
}

// silent returns the nodes that monitor-srv did not hear a farewell from.
func (v *verdict) silent(ctx context.Context, nodes []*node) (silent []string, _ error) {
	rsp, err := v.operator.monitor.Status(ctx, &monitorpb.StatusRequest{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		stopped := slices.ContainsFunc(rsp.Statuses, func(s *monitorpb.Status) bool {
			return nodeName(s.Service) == n.name && s.Status == monitorpb.Status_STOPPED
		})
		if !stopped {
			silent = append(silent, n.name)
		}
	}
	return silent, nil
}

// settled waits until the books have all orders that there were events of.
func (r *report) settled() (settled, of int, equal bool) {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	for {
		orders, sum := r.notifier.orders()
		b, err := readBooks(ctx, r.ring())
		equal = err == nil && b.Orders == orders && b.Sum == sum
		if equal || !lifecycle.Sleep(ctx, 20*time.Millisecond) {
			return b.Orders, orders, equal
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return "(" + strings.ReplaceAll(err.Error(), "\n", "; ") + ")"
}
