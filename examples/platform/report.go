package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
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

	cutOff  int64 // calls that the killed gateway was at
	whole   int   // traces that were read back complete
	refused bool  // strangers were
	reports int
	slowest float64 // p50 in ms of stock-1, which needs one, in the worst window
	told    error   // what went wrong with what happens to the shop
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

// print is one block of the report. A line that cannot be had says why.
func (r *report) print() {
	ctx, cancel := context.WithTimeout(context.Background(), r.bound)
	defer cancel()
	r.printf("\n%s  %s\n", time.Now().Format(time.TimeOnly), r.throughput())
	if err := r.endpoints(ctx); err != nil {
		r.printf("  no statistics: %v\n", err)
	}
	if err := r.health(ctx); err != nil {
		r.printf("  no health: %v\n", err)
	}
	r.shares()
	r.printf("  the gateways keep %d sessions; %s\n", r.customers.sessions.count(), r.shift.state())
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
		slices.SortFunc(s.Endpoints, func(a, b *monitorpb.Endpoint) int { return cmp.Compare(a.Method, b.Method) })
		for _, e := range s.Endpoints {
			if nodeName(s.Service) == "stock-1" && e.Method == "Stock.Reserve" {
				r.slowest = max(r.slowest, e.Success.GetP50())
			}
			if e.Side == monitorpb.Endpoint_SERVER {
				r.printf("  %-11s %-28s %7d %7d %9.1f %9.1f\n", nodeName(s.Service), e.Method, e.Success.GetCount(),
					e.Errors.GetCount()+e.Dropped.GetCount(), e.Success.GetP50(), e.Success.GetP99())
			}
		}
	}
	return nil
}

func nodeName(s *monitorpb.Service) string { return short(s.Nodes[0].Id) }

var nodeID = regexp.MustCompile(`shop\.\w+-(\w+(?:-\d+)?)-[0-9a-f]{8}-[0-9a-f-]{27}`)

// short makes "stock-1" of each "shop.stock-stock-1-<uuid>".
func short(text string) string { return nodeID.ReplaceAllString(text, "$1") }

// health is monitor-srv's verdict.
func (r *report) health(ctx context.Context) error {
	rsp, err := r.operator.monitor.Verdicts(ctx, &monitorpb.VerdictsRequest{})
	if err != nil {
		return err
	}
	for _, v := range rsp.Verdicts {
		r.printf("  %-16s %-9s %d of %d nodes ready  %s\n", v.Service, v.State, v.Ready, v.Nodes, short(strings.Join(v.Reasons, "; ")))
	}
	return nil
}

// strangers shows what becomes of callers whom nobody knows.
func (r *report) strangers(ctx context.Context) {
	nobody, somebody := r.operator.strangers(ctx, r.platform)
	r.refused = call.Code(nobody) == 401 && call.Code(somebody) == 403
	r.printf("nobody wants to buy: %d %s\n", call.Code(nobody), call.Parse(nobody).Detail)
	r.printf("a stranger wants to buy: %d %s\n", call.Code(somebody), call.Parse(somebody).Detail)
}

// play is what happens to the shop while it runs: after the first report a sale
// begins, the notifier and a gateway are killed and the leading scheduler is
// paused; after the second those that were killed are replaced. The paused one
// goes on by itself, once the other leads.
func (r *report) play() {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	switch r.reports++; r.reports {
	case 1:
		r.told = errors.Join(r.operator.discount(ctx, 10), r.notifier.kill())
		r.cutOff = r.kill(victim)
		r.shift.pauseLeader()
		r.printf("  the operator begins a sale: discount 10 %%\n")
		r.printf("  the notifier is killed, so is %s; the leading scheduler is paused\n", victim)
	case 2:
		r.told = errors.Join(r.told, r.notifier.begin(), r.open(ctx, gateway("gateway-4")))
		r.printf("  the notifier is back, gateway-4 replaces %s\n", victim)
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
		r.printf("  %s\n", strings.ReplaceAll(short(strings.TrimSpace(why.String())), "\n", "\n  "))
	}
}
