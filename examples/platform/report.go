package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/call"
	monitorpb "github.com/micro/go-platform/monitor/proto"
)

// report prints what a person wants to see, and at the end whether the promises
// were kept.
type report struct {
	*platform
	out io.Writer

	last      time.Time
	lastCalls int64
	lastErrs  int64

	whole   int  // traces that were read back complete
	refused bool // strangers were
	reports int
	told    error // what became of the change of configuration
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

// print is one block of the report. A line that cannot be had says why.
func (r *report) print() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	r.printf("\n%s  %s\n", time.Now().Format(time.TimeOnly), r.throughput())
	if err := r.endpoints(ctx); err != nil {
		r.printf("  no statistics: %v\n", err)
	}
	if err := r.health(ctx); err != nil {
		r.printf("  no health: %v\n", err)
	}
	r.shares()
	if err := r.waterfall(ctx); err != nil {
		r.printf("  no trace: %v\n", err)
	}
}

// throughput is from the metrics that the collector received.
func (r *report) throughput() string {
	calls := r.collector.sum("shop.server.calls")
	errs := r.collector.sum("shop.server.calls", "status=error") + r.collector.sum("shop.server.calls", "status=dropped")
	now := time.Now()
	elapsed := now.Sub(r.last).Seconds()
	text := fmt.Sprintf("%.0f calls/s, %.1f errors/s", float64(calls-r.lastCalls)/elapsed, float64(errs-r.lastErrs)/elapsed)
	r.last, r.lastCalls, r.lastErrs = now, calls, errs
	return text
}

// endpoints are the statistics that the nodes reported to monitor-srv.
func (r *report) endpoints(ctx context.Context) error {
	rsp, err := r.operator.monitor.Stats(ctx, &monitorpb.StatsRequest{})
	if err != nil {
		return err
	}
	r.printf("  %-11s %-28s %7s %7s %9s %9s\n", "node", "endpoint", "calls", "errors", "p50 ms", "p99 ms")
	slices.SortFunc(rsp.Stats, func(a, b *monitorpb.Stats) int { return cmp.Compare(nodeName(a.Service), nodeName(b.Service)) })
	for _, s := range rsp.Stats {
		for _, e := range s.Endpoints {
			if e.Side == monitorpb.Endpoint_SERVER {
				r.printf("  %-11s %-28s %7d %7d %9.1f %9.1f\n", nodeName(s.Service), e.Method, e.Success.GetCount(),
					e.Errors.GetCount()+e.Dropped.GetCount(), e.Success.GetP50(), e.Success.GetP99())
			}
		}
	}
	return nil
}

// nodeName shortens "shop.stock-stock-1-<uuid>" to "stock-1".
func nodeName(s *monitorpb.Service) string {
	id := strings.TrimPrefix(s.Nodes[0].Id, s.Name+"-")
	if i := len(id) - len("-00000000-0000-0000-0000-000000000000"); i > 0 {
		id = id[:i]
	}
	return id
}

// health is monitor-srv's verdict.
func (r *report) health(ctx context.Context) error {
	rsp, err := r.operator.monitor.Verdicts(ctx, &monitorpb.VerdictsRequest{})
	if err != nil {
		return err
	}
	for _, v := range rsp.Verdicts {
		r.printf("  %-16s %-9s %d of %d nodes ready  %s\n", v.Service, v.State, v.Ready, v.Nodes, strings.Join(v.Reasons, "; "))
	}
	return nil
}

// strangers shows what becomes of callers whom nobody knows.
func (r *report) strangers(ctx context.Context) {
	nobody, somebody := r.operator.strangers(ctx, r.platform)
	r.refused = call.Code(nobody) == 401 && call.Code(somebody) == 403
	for who, err := range map[string]error{"nobody": nobody, "a stranger": somebody} {
		r.printf("  %s wants to buy: %v\n", who, err)
	}
}

// play is what happens to the shop while it runs: a sale begins after the first
// report; the notifier is killed after it and comes back after the second.
func (r *report) play(ctx context.Context) {
	switch r.reports++; r.reports {
	case 1:
		r.told = errors.Join(r.operator.discount(ctx, 10), r.notifier.kill())
		r.printf("  the operator begins a sale: discount 10 %%; the notifier is killed\n")
	case 2:
		r.told = errors.Join(r.told, r.notifier.begin())
		r.printf("  the notifier is back\n")
	}
}

// shares tells how the calls of orders-1 divide among the stock's nodes.
func (r *report) shares() {
	for _, n := range r.nodes {
		if n.name != "orders-1" {
			continue
		}
		why, err := n.router.Explain(stockName)
		if err != nil {
			r.printf("  no shares: %v\n", err)
			return
		}
		r.printf("  %s\n", strings.ReplaceAll(strings.TrimSpace(why.String()), "\n", "\n  "))
	}
}

// end closes the shop, checks the promises and returns the exit code.
func (r *report) end(lasted time.Duration) int {
	p := r.platform
	customers := p.customers
	customers.leave()
	bought, refused, failed := customers.bought.Load(), customers.refused.Load(), customers.failed.Load()
	nodes := append([]*node{customers.node}, p.nodes...)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stopped := p.stop()
	if err := r.waterfall(ctx); err != nil {
		r.printf("  no trace: %v\n", err)
	}
	missing := p.notifier.missing(p.orders)
	var dropped uint64
	for _, n := range nodes {
		dropped += n.dropped()
	}
	silent, err := r.notStopped(ctx)

	r.printf("\nafter %.0f s: %d bought, %d refused as promised, %d failed\n", lasted.Seconds(), bought, refused, failed)
	kept := true
	promise := func(ok bool, format string, args ...any) {
		mark := "kept  "
		if !ok {
			mark, kept = "BROKEN", false
		}
		r.printf("  %s  %s\n", mark, fmt.Sprintf(format, args...))
	}
	if f := customers.failure.Load(); f != nil {
		r.printf("  first failure: %v\n", *f)
	}
	served := make([]int64, len(p.stocks))
	for i, h := range p.stocks {
		served[i] = h.calls.Load()
	}
	canary := 100 * float64(served[3]) / float64(max(served[0]+served[1]+served[2]+served[3], 1))
	promise(bought > 0 && failed*100 <= bought, "hardly a call fails, though stock-3 fails four times in five (%d of %d)", failed, bought+failed)
	promise(r.refused, "an unknown caller, and one whom no rule allows it, are refused")
	promise(served[1] < served[0]/2 && served[2] < served[0]/2, "the slow and the failing node get less than half of a good one's calls (%d, %d, %d)", served[1], served[2], served[0])
	promise(canary > 3 && canary < 20, "the canary gets about %d %% (%.1f)", canaryPercent, canary)
	promise(r.told == nil && customers.full.Load() > 0 && customers.reduced.Load() > 0, "a change of configuration reaches the shop while it sells (%d at full price, %d reduced) %s",
		customers.full.Load(), customers.reduced.Load(), text(r.told))
	promise(len(p.orders) > 0 && missing == 0, "of every order that was stored the notifier was told, though it was killed (%d orders, %d missing)", len(p.orders), missing)
	promise(r.whole > 0, "a trace of all services is read back from trace-srv as one tree (%d were)", r.whole)
	promise(dropped == 0, "no telemetry is dropped (%d was)", dropped)
	promise(err == nil && len(silent) == 0, "every node reported STOPPED to monitor-srv %s", strings.Join(silent, " "))
	promise(stopped == nil, "every service ends cleanly %s", text(stopped))
	ended := p.stopDaemons()
	promise(ended == nil, "the platform's services end cleanly %s", text(ended))
	if !kept {
		return 1
	}
	return 0
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return "(" + strings.ReplaceAll(err.Error(), "\n", "; ") + ")"
}

// notStopped returns the nodes of the shop that monitor-srv did not hear a
// farewell from.
func (r *report) notStopped(ctx context.Context) ([]string, error) {
	rsp, err := r.operator.monitor.Status(ctx, &monitorpb.StatusRequest{})
	if err != nil {
		return nil, err
	}
	var silent []string
	for _, s := range rsp.Statuses {
		if s.Status != monitorpb.Status_STOPPED {
			silent = append(silent, nodeName(s.Service)+" "+s.Status.String())
		}
	}
	if len(rsp.Statuses) != 8 {
		silent = append(silent, fmt.Sprintf("(%d nodes known, not 8)", len(rsp.Statuses)))
	}
	return silent, nil
}
