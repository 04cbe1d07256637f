package router_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
)

func TestCallsStreamsAndMessagesPass(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		rpctest.Whole(t, func() bool { return callsStreamsAndMessagesPass(t, stack) })
	})
}

func callsStreamsAndMessagesPass(t *testing.T, stack string) (whole bool) {
	w := newWorld(t, stack, router.ServerRate(1e6, 1e6), router.ServerConcurrency(100), router.ClientConcurrency(100), router.ClientRate("", 1e6, 1e6))
	e := w.Serve(stack, "shop", server.WrapHandler(router.HandlerWrapper(w.router)))
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"x-test": "1", "X-Micro-Label-Env": "a"})
	rsp, err := w.echo("shop").Call(ctx, &echo.Request{Text: "hi"})
	if !w.whole() {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"x-test": "1", "x-micro-label-env": "a"} {
		if v, _ := metadata.Metadata(lower(rsp.Metadata)).Get(k); v != want {
			t.Errorf("metadata %s is %q", k, v)
		}
	}
	if err := rpctest.Converse(ctx, w.echo("shop"), 3, &echo.Request{End: true}); err != nil {
		t.Error(err)
	}
	if err := w.client.Publish(ctx, w.client.NewMessage(rpctest.Topic, &echo.Event{Text: "news"})); err != nil {
		t.Error(err)
	}
	rpctest.Eventually(t, "the message arrives", func() bool { return len(e.Events()) == 1 })
	if v, _ := metadata.Metadata(lower(e.Events()[0].Metadata)).Get("x-test"); v != "1" {
		t.Errorf("metadata of the message: %v", e.Events()[0].Metadata)
	}
	rpctest.Eventually(t, "call and stream are measured once", func() bool {
		s, err := w.router.Stats()
		if err != nil || len(s) != 1 || len(s[0].Selected) != 1 || len(s[0].Endpoints) != 2 {
			return false
		}
		return s[0].Selected[0].Success.Count == 2 && s[0].Endpoints[0].Success.Count == 1 && s[0].Endpoints[1].Success.Count == 1
	})
	return true
}

func lower(md map[string]string) map[string]string {
	all := map[string]string{}
	for k, v := range md {
		all[string(asLower(k))] = v
	}
	return all
}

func asLower(s string) []byte {
	b := []byte(s)
	for i := range b {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] |= 0x20
		}
	}
	return b
}

// TestADeadNodeCostsNoCall: what was never sent goes to another node, whether
// or not the method may run twice, and however the dead node's address is spelt.
func TestADeadNodeCostsNoCall(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		a := w.serve("shop", "v1")
		w.serve("shop", "v1") // half of the nodes may be left alone
		w.dead("shop", "v1")
		_, port, err := net.SplitHostPort(backend.Address(t))
		if err != nil {
			t.Fatal(err)
		}
		w.register("shop", "v1", &registry.Node{
			Id: "shop-by-name", Address: net.JoinHostPort("localhost", port), Metadata: map[string]string{"protocol": w.protocol()},
		})
		by, failed := w.calls(t.Context(), 200)
		if failed > 0 {
			t.Errorf("%d of 200 calls failed: %v", failed, by)
		}
		if a.calls.Load() > 200 {
			t.Errorf("%d executions of 200 calls", a.calls.Load())
		}
		for range 20 {
			if err := rpctest.Converse(t.Context(), w.echo("shop"), 1, &echo.Request{End: true}); err != nil {
				t.Errorf("stream: %v", err)
			}
		}
	})
}

func TestStreamsLeaveADeadNode(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		w.serve("shop", "v1")
		w.dead("shop", "v1")
		for range 50 {
			if err := rpctest.Converse(t.Context(), w.echo("shop"), 1, &echo.Request{End: true}); err != nil {
				t.Errorf("stream: %v", err)
			}
		}
	})
}

func TestOnlyWhatMayRunTwiceDoes(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		for name, c := range map[string]struct {
			opts  []selector.Option
			ctx   func(context.Context) context.Context
			call  []client.CallOption
			twice bool
		}{
			"nothing said":       {},
			"another method":     {opts: []selector.Option{router.Idempotent("Echo.Read", "stock/Echo.Call")}},
			"by method":          {opts: []selector.Option{router.Idempotent("Echo.C*")}, twice: true},
			"by service, method": {opts: []selector.Option{router.Idempotent("shop/Echo.*")}, twice: true},
			"by context":         {ctx: router.WithIdempotent, twice: true},
			"by call":            {call: []client.CallOption{router.IdempotentCall()}, twice: true},
			"no retries":         {opts: []selector.Option{router.Retries(0)}, ctx: router.WithIdempotent},
			"none for the call":  {ctx: router.WithIdempotent, call: []client.CallOption{client.WithRetries(0)}},
			"go-micro's own":     {call: []client.CallOption{client.WithRetries(5)}},
		} {
			t.Run(name, func(t *testing.T) {
				rpctest.Whole(t, func() bool {
					w := newWorld(t, stack, c.opts...)
					n := w.serve("shop", "v1")
					n.fail.Store(500)
					ctx := t.Context()
					if c.ctx != nil {
						ctx = c.ctx(ctx)
					}
					_, err := w.echo("shop").Call(ctx, &echo.Request{}, c.call...)
					if !w.whole() {
						return false
					}
					if call.Code(err) != 500 {
						t.Errorf("error %v", err)
					}
					if got := n.calls.Load(); c.twice != (got > 1) || got > 3 {
						t.Errorf("%d executions", got)
					}
					return true
				})
			})
		}
	})
}

func TestAnUpstreamThatFailsGetsOneAndAFifthOfTheLoad(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack, router.Idempotent("*"))
		nodes := []*node{w.serve("shop", "v1"), w.serve("shop", "v1")}
		for _, n := range nodes {
			n.fail.Store(503)
		}
		const offered = 500
		_, failed := w.calls(t.Context(), offered)
		got := nodes[0].calls.Load() + nodes[1].calls.Load()
		if failed < offered*9/10 || got > offered*12/10 {
			t.Errorf("%d executions of %d calls, %d failed", got, offered, failed)
		}
		if got < offered*11/10 {
			t.Errorf("%d executions of %d calls: the budget is not used", got, offered)
		}
	})
}

func TestARetryGoesToAnotherNode(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack, router.Idempotent("*"), router.Strategy(router.RoundRobin), router.RetryBudget(1, 100))
		bad, good := w.serve("shop", "v1"), w.serve("shop", "v1")
		bad.fail.Store(503)
		if by, failed := w.calls(t.Context(), 100); failed > 0 {
			t.Errorf("%d failed: %v", failed, by)
		}
		if bad.calls.Load() == 0 || good.calls.Load() < 95 {
			t.Errorf("%d and %d calls", bad.calls.Load(), good.calls.Load())
		}
	})
}

func TestNoRetryWithoutTime(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack, router.Idempotent("*"))
		n := w.serve("shop", "v1")
		n.delay.Store(int64(100 * time.Millisecond))
		if _, failed := w.calls(t.Context(), 3); failed > 0 {
			t.Fatal("a slow call failed")
		}
		rpctest.Eventually(t, "the router knows how slow it is", func() bool {
			return router.Typical(w.router, "shop") > 90*time.Millisecond
		})
		n.fail.Store(503)
		n.calls.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if _, err := w.echo("shop").Call(ctx, &echo.Request{}); err == nil {
			t.Fatal("no error")
		}
		if n.calls.Load() > 1 && time.Since(begun) < 145*time.Millisecond {
			t.Errorf("%d executions with 50 ms left for a call of 100", n.calls.Load())
		}
	})
}

// TestWhatAHandlerPassesOnIsNoRefusedConnection: a handler that could not reach
// a service of its own and says so has done half of its work.
func TestWhatAHandlerPassesOnIsNoRefusedConnection(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		rpctest.Whole(t, func() bool {
			w := newWorld(t, stack)
			e := w.Serve(stack, "shop")
			var calls atomic.Int64
			e.Forward = func(context.Context) error {
				calls.Add(1)
				return merrors.New("go.micro.client", `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`, 503)
			}
			_, err := w.echo("shop").Call(t.Context(), &echo.Request{})
			if !w.whole() {
				return false
			}
			if call.Code(err) != 503 {
				t.Errorf("error %v", err)
			}
			if calls.Load() != 1 {
				t.Errorf("%d executions", calls.Load())
			}
			return true
		})
	})
}

func TestAddressOfTheCallerNeedsNoRegistry(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		n := w.serve("shop", "v1")
		for _, name := range []string{"unheard.of", "shop"} {
			_, err := w.echo(name).Call(t.Context(), &echo.Request{}, client.WithAddress(n.server.Options().Address))
			if err != nil && !w.lost(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		t.Run("client rate", func(t *testing.T) { rpctest.Whole(t, func() bool { return limitsTheClient(t, stack) }) })
		t.Run("server rate", func(t *testing.T) { rpctest.Whole(t, func() bool { return limitsTheServer(t, stack) }) })
	})
}

func limitsTheClient(t *testing.T, stack string) (whole bool) {
	w := newWorld(t, stack, router.ClientRate("shop", 0.001, 5))
	n := w.serve("shop", "v1")
	by, failed := w.calls(t.Context(), 50)
	if !w.whole() {
		return false
	}
	if n.calls.Load() != 5 || by["code 429"] != 45 || failed != 45 {
		t.Errorf("%d executions, %v", n.calls.Load(), by)
	}
	if _, err := w.echo("shop").Stream(t.Context()); !router.Limited(err) {
		t.Errorf("stream: %v", err)
	}
	// Its own refusals are not failures of the node.
	e, err := w.router.Explain("shop")
	if err != nil || e.Limited != 46 || e.Nodes[0].Success != 1 || len(e.Nodes[0].Reasons) > 0 {
		t.Errorf("%+v, %v", e, err)
	}
	return true
}

func limitsTheServer(t *testing.T, stack string) (whole bool) {
	w := newWorld(t, stack, router.ServerRate(0.001, 5))
	n := w.serve("shop", "v1", server.WrapHandler(router.HandlerWrapper(w.router)))
	by, _ := w.calls(t.Context(), 20)
	if !w.whole() {
		return false
	}
	if n.calls.Load() != 5 || by["code 429"] != 15 {
		t.Errorf("%d executions, %v", n.calls.Load(), by)
	}
	stream, err := w.echo("shop").Stream(t.Context())
	if err == nil {
		_ = stream.Send(&echo.Request{}) // the reason comes with Recv
		_, err = stream.Recv()
		_ = stream.Close() // it is over
	}
	if !router.Limited(err) {
		t.Errorf("stream: %v", err)
	}
	return true
}

func TestHandlerConcurrencyAndPanic(t *testing.T) {
	w := newWorld(t, rpctest.GRPC, router.ServerConcurrency(4))
	wait, entered := make(chan struct{}), make(chan struct{}, 8)
	h := router.HandlerWrapper(w.router)(func(_ context.Context, req server.Request, _ any) error {
		if req == nil {
			return nil
		}
		entered <- struct{}{}
		<-wait
		return nil
	})
	results := make(chan error, 8)
	for range 4 {
		go func() { results <- h(t.Context(), unary{}, nil) }()
	}
	for range 4 {
		<-entered
	}
	if err := h(t.Context(), unary{}, nil); !router.Limited(err) {
		t.Errorf("the fifth at a time: %v", err)
	}
	close(wait)
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := h(t.Context(), unary{}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	panics := router.HandlerWrapper(w.router)(func(context.Context, server.Request, any) error { panic("told to") })
	for range 10 { // none keeps its place
		func() {
			defer func() {
				if p := recover(); p != "told to" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = panics(t.Context(), unary{}, nil) // panics
		}()
	}
}

type unary struct{ server.Request }

func (unary) Stream() bool { return false }

func TestCallWrapperAloneAndTwice(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		rpctest.Whole(t, func() bool { return countsOnce(t, stack) })
	})
}

func countsOnce(t *testing.T, stack string) (whole bool) {
	w := newWorld(t, stack)
	w.serve("shop", "v1")
	count := func() int64 {
		s, err := w.router.Stats()
		if err != nil || len(s) == 0 {
			return 0
		}
		return s[0].Selected[0].Success.Count
	}
	both := client.WithCallWrapper(router.CallWrapper(w.router))
	if _, err := w.echo("shop").Call(t.Context(), &echo.Request{}, both); w.lost(err) {
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("with both wrappers %d calls were counted", n)
	}
	plain := echo.NewEchoService("shop", w.ClientOf(stack, w.router))
	if _, err := plain.Call(t.Context(), &echo.Request{}, both); w.lost(err) {
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 2 {
		t.Errorf("with CallWrapper alone %d calls were counted, want 2", n)
	}
	return true
}

// TestLabelsFromOutsideSteerNothing: an ingress that strips labels passes none
// on to what it calls, whatever spelling they come in.
func TestLabelsFromOutsideSteerNothing(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		for name, c := range map[string]struct {
			opts   []server.Option
			steers bool
		}{
			"open":    {nil, true},
			"strips":  {[]server.Option{server.WrapHandler(router.StripLabels("env"))}, false},
			"accepts": {[]server.Option{server.WrapHandler(router.StripLabels("STAGE"))}, true},
		} {
			t.Run(name, func(t *testing.T) {
				rpctest.Whole(t, func() bool { return labelsSteer(t, stack, c.steers, c.opts...) })
			})
		}
	})
}

// labelsSteer judges whether a gateway with the options lets a caller's label
// decide where the gateway's own calls go. It returns false when calls were lost.
func labelsSteer(t *testing.T, stack string, want bool, opts ...server.Option) (whole bool) {
	w := newWorld(t, stack, router.Strategy(router.RoundRobin))
	internal := w.serve("shop", "v1", server.Metadata(map[string]string{"stage": "internal"}))
	w.serve("shop", "v1")
	inner := echo.NewEchoService("shop", router.NewLabelWrapper(w.client))
	e := w.Serve(stack, "gateway", opts...)
	by := map[string]int{}
	e.Forward = func(ctx context.Context) error {
		rsp, err := inner.Call(ctx, &echo.Request{})
		if err == nil {
			by[rsp.Text]++
		}
		return err
	}
	defer func() { e.Forward = nil }() // a test keeps its servers, and rpc clients go with the garbage
	ctx := metadata.NewContext(t.Context(), metadata.Metadata{"x-mICRO-label-STAGE": "INTERNAL", "x-other": "1"})
	for range 40 {
		rsp, err := w.echo("gateway").Call(ctx, &echo.Request{})
		if !w.whole() {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if lower(rsp.Metadata)["x-other"] != "1" {
			t.Fatalf("other metadata is gone: %v", rsp.Metadata)
		}
	}
	if steered := by[internal.id] > 35; steered != want {
		t.Errorf("calls that reached: %v", by)
	}
	return true
}

func TestFailuresOfTheCallerEjectNobody(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		bad := w.serve("shop", "v1")
		w.serve("shop", "v1")
		for _, code := range []int32{400, 401, 403, 404, 409, 412} {
			bad.fail.Store(code)
			w.calls(t.Context(), 20)
		}
		for range 20 { // the caller goes away
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_, _ = w.echo("shop").Call(ctx, &echo.Request{SleepMs: 20}) // cancelled
			cancel()
		}
		e, err := w.router.Explain("shop")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range e.Nodes {
			if strings.Contains(strings.Join(n.Reasons, ""), "ejected") {
				t.Errorf("%s: %v", n.Node.Id, n.Reasons)
			}
		}
	})
}

func TestFiltersOfACallStillWork(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack)
		w.serve("shop", "v1")
		b := w.serve("shop", "v2")
		by, failed := w.calls(t.Context(), 40, client.WithSelectOption(selector.WithFilter(selector.FilterVersion("v1"))))
		if failed > 0 || by[b.id] > 0 {
			t.Errorf("%v", by)
		}
		none := client.WithSelectOption(selector.WithFilter(func([]*registry.Service) []*registry.Service { return nil }))
		if _, failed := w.calls(t.Context(), 2, none); failed != 2 {
			t.Error("a filter that leaves nothing did not fail the call")
		}
	})
}
